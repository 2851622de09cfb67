/** The page: a conversation, kept here and sent whole with every question. */

import { update } from "./markdown.js";

const $ = (id) => document.getElementById(id);
const log = $("log"), form = $("form"), prompt = $("prompt"), model = $("model"), status = $("status");

let messages = [];
/** Of the answer that is under way. */
let underWay = null;

// -- asking --------------------------------------------------------------------------

async function ask() {
  const view = answerView(model.value);
  const controller = (underWay = new AbortController());
  const answer = { text: "", thought: "", usage: null, end: null };
  let trouble = null;
  busy(true);
  try {
    const response = await fetch("chat", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: model.value, messages }),
      signal: controller.signal,
    });
    if (!response.ok) throw await problem(response);
    for await (const { event, data } of events(response.body)) {
      if (event === "error") throw data;
      take(answer, data);
      view.show(answer);
    }
    if (!answer.end) throw { message: "The answer broke off." };
  } catch (error) {
    if (!controller.signal.aborted) trouble = error.message ?? String(error);
  }
  const stopped = controller.signal.aborted;
  // A new chat does not wait for the old one.
  if (underWay !== controller) return;
  underWay = null;
  view.finish(answer, { stopped, trouble });
  if (answer.text) messages.push({ role: "assistant", text: answer.text });
  busy(false);
  status.textContent = trouble ? "The answer failed." : stopped ? "Stopped." : "The answer is complete.";
}

function take(answer, chunk) {
  switch (chunk.chunk) {
    case "text_delta":
    case "refusal_delta":
      answer.text += chunk.text;
      break;
    case "reasoning_delta":
      answer.thought += chunk.text;
      break;
    case "usage_update":
      answer.usage = chunk.usage;
      break;
    case "response_end":
      answer.end = chunk.finish_reason;
  }
}

async function problem(response) {
  const body = await response.json().catch(() => ({}));
  return body.error ?? { message: `The server answered with status ${response.status}.` };
}

/** Server-sent events, from a `fetch`: an `EventSource` cannot post. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const pieces = (buffer + value).split("\n\n");
    buffer = pieces.pop();
    for (const piece of pieces) {
      const fields = piece.split("\n").map((line) => /^(\w*): ?(.*)$/.exec(line) ?? []);
      const data = fields.filter(([, name]) => name === "data").map(([, , text]) => text).join("\n");
      const event = fields.find(([, name]) => name === "event")?.[2] ?? "message";
      if (data && data !== "[DONE]") yield { event, data: JSON.parse(data) };
    }
  }
}

// -- showing -------------------------------------------------------------------------

function answerView(name) {
  const article = add("article", "assistant");
  article.setAttribute("aria-label", `Answer of ${name}`);
  article.setAttribute("aria-busy", "true");
  make(article, "p", "by").textContent = name;
  const thought = make(article, "details", "");
  make(thought, "summary", "").textContent = "Thoughts";
  const thoughts = make(thought, "p", "");
  thought.hidden = true;
  const text = make(article, "div", "text");
  const waiting = make(article, "div", "waiting");
  let frame = 0;

  function draw(answer) {
    const follow = atBottom();
    thought.hidden = !answer.thought;
    thoughts.textContent = answer.thought;
    update(text, answer.text);
    if (follow) toBottom();
  }

  return {
    /** Once per frame is often enough, however fast a model speaks. */
    show(answer) {
      frame ||= requestAnimationFrame(() => { frame = 0; draw(answer); });
    },
    finish(answer, { stopped, trouble }) {
      cancelAnimationFrame(frame);
      waiting.remove();
      article.removeAttribute("aria-busy");
      draw(answer);
      const follow = atBottom();
      const notes = [];
      if (stopped) notes.push("Stopped");
      if (answer.end === "length") notes.push("Cut off: the limit was reached");
      if (answer.end === "content_filter") notes.push("Ended by a content filter");
      if (answer.usage?.output_tokens) notes.push(`${answer.usage.output_tokens} tokens`);
      if (notes.length) make(article, "p", "note").textContent = notes.join(" · ");
      if (trouble) {
        const line = make(article, "p", "trouble");
        line.setAttribute("role", "alert");
        line.textContent = trouble;
        const again = make(line, "button", "");
        again.type = "button";
        again.textContent = "Try again";
        again.onclick = () => tryAgain(article, answer);
      }
      if (follow) toBottom();
    },
  };
}

function tryAgain(article, answer) {
  if (underWay) return;
  if (answer.text) messages.pop();
  article.remove();
  prompt.focus();
  ask();
}

function add(tag, kind) {
  $("welcome")?.remove();
  return make(log, tag, kind);
}

function make(parent, tag, kind) {
  const node = document.createElement(tag);
  if (kind) node.className = kind;
  parent.append(node);
  return node;
}

const atBottom = () => log.scrollHeight - log.scrollTop - log.clientHeight < 60;
const toBottom = () => { log.scrollTop = log.scrollHeight; };

function busy(yes) {
  $("send").hidden = yes;
  $("stop").hidden = !yes;
  if (yes) status.textContent = "Answering.";
  sendable();
}

function sendable() {
  $("send").disabled = !prompt.value.trim();
}

// -- what the reader does ------------------------------------------------------------

form.onsubmit = (event) => {
  event.preventDefault();
  const text = prompt.value.trim();
  if (!text || underWay) return;
  for (const line of log.querySelectorAll(".trouble button")) line.remove();
  messages.push({ role: "user", text });
  make(add("article", "user"), "div", "").textContent = text;
  prompt.value = "";
  toBottom();
  ask();
};

prompt.onkeydown = (event) => {
  // While an input method is composing, Enter is its own.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
};

prompt.oninput = sendable;
$("stop").onclick = () => { underWay?.abort(); prompt.focus(); };
document.onkeydown = (event) => { if (event.key === "Escape") underWay?.abort(); };

$("fresh").onclick = () => {
  const old = underWay;
  underWay = null;
  old?.abort();
  messages = [];
  log.replaceChildren();
  make(log, "p", "").id = "welcome";
  $("welcome").textContent = "What would you like to know?";
  status.textContent = "New chat.";
  busy(false);
  prompt.focus();
};

async function begin() {
  const response = await fetch("models");
  const names = await response.json();
  model.replaceChildren(...names.map((name) => new Option(name)));
  sendable();
}

begin();
