"""OpenAI's files: uploaded as a form, kept in memory, given back byte for byte."""

from __future__ import annotations

import re
from email.message import Message
from typing import Any, Final

from attrs import define, field, frozen

from ._sim_dialect import Endpoint, Raw, Refused, Reply, Visit
from ._sim_pages import page

__all__ = ["OPENAI_FILES", "Files", "FormField", "read_form"]

_PURPOSES: Final = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")


@define
class Files:
    """The files that a server keeps, by their ids."""

    about: dict[str, dict[str, Any]] = field(factory=dict, init=False)
    content: dict[str, bytes] = field(factory=dict, init=False)

    def keep(self, file_id: str, data: bytes, **facts: Any) -> dict[str, Any]:
        """Keep *data*, and return what is to be said about it."""
        about = {
            "id": file_id,
            "object": "file",
            "bytes": len(data),
            "expires_at": None,
            "status": "processed",
            "status_details": None,
            **facts,
        }
        self.about[file_id] = about
        self.content[file_id] = data
        return about

    def find(self, file_id: str) -> dict[str, Any]:
        """Raises `Refused` if there is none."""
        if file_id not in self.about:
            raise Refused(
                f"No such File object: {file_id}", status=404, code=None, param="id"
            )
        return self.about[file_id]


@frozen
class FormField:
    """What stands in a field of a form."""

    data: bytes
    filename: str | None = None


def read_form(data: bytes, content_type: str) -> dict[str, FormField]:
    """Read a form (RFC 7578). Raises `Refused` for what is none."""
    found = re.search(r'boundary="?([^";]+)', content_type)
    if not content_type.startswith("multipart/form-data") or found is None:
        raise Refused("Invalid content type: expected multipart/form-data.")
    form: dict[str, FormField] = {}
    boundary = b"\r\n--" + found[1].encode()
    # Before the first boundary and after the last one there is nothing.
    for part in (b"\r\n" + data).split(boundary)[1:-1]:
        head, _, body = part.partition(b"\r\n\r\n")
        name, filename = _disposition(head.decode(errors="replace"))
        form[name] = FormField(body, filename)
    return form


def _disposition(head: str) -> tuple[str, str | None]:
    line = re.search(r"(?im)^content-disposition:(.*)$", head)
    message = Message()
    message["content-disposition"] = line[1].strip() if line else ""
    name = message.get_param("name", header="content-disposition")
    return str(name), message.get_filename()


def _create(visit: Visit) -> Reply:
    form = read_form(visit.data, visit.headers.get("content-type", ""))
    if "file" not in form or not form["file"].filename:
        raise Refused("'file' is a required property", param="file")
    purpose = form["purpose"].data.decode() if "purpose" in form else None
    if purpose not in _PURPOSES:
        raise Refused(
            f"'{purpose}' is not one of {list(_PURPOSES)} - 'purpose'", param="purpose"
        )
    uploaded = form["file"]
    if not uploaded.data:
        raise Refused("File is empty.", param="file")
    return visit.shelf.of(Files).keep(
        f"file-sim{visit.number:08d}",
        uploaded.data,
        created_at=visit.created,
        filename=uploaded.filename,
        purpose=purpose,
    )


def _list(visit: Visit) -> Reply:
    purpose = visit.query.get("purpose")
    kept = visit.shelf.of(Files).about.values()
    shown = [about for about in kept if purpose in (None, about["purpose"])]
    return {"object": "list", **page(shown, visit.query, size=1000)}


def _get(visit: Visit) -> Reply:
    return visit.shelf.of(Files).find(visit.params["id"])


def _content(visit: Visit) -> Reply:
    files = visit.shelf.of(Files)
    file_id = files.find(visit.params["id"])["id"]
    return Raw(data=files.content[file_id])


def _delete(visit: Visit) -> Reply:
    files = visit.shelf.of(Files)
    file_id = files.find(visit.params["id"])["id"]
    del files.about[file_id], files.content[file_id]
    return {"id": file_id, "object": "file", "deleted": True}


OPENAI_FILES: Final = (
    Endpoint("POST", "/files", _create),
    Endpoint("GET", "/files", _list),
    Endpoint("GET", "/files/{id}", _get),
    Endpoint("GET", "/files/{id}/content", _content),
    Endpoint("DELETE", "/files/{id}", _delete),
)
