"""
A fuzzer for everything that reads what a server sends (I1, I2, S3, S7).

::

    python -m tests.fuzz                          # until Ctrl-C, all targets in turn
    python -m tests.fuzz --count 1000000 --seed 7
    python -m tests.fuzz --target anthropic --keep /tmp/findings
    python -m tests.fuzz --target anthropic --input FILE     # one input, read in one piece
    python -m tests.fuzz --atheris --target google -max_total_time=600

It takes the recordings (`seeds`), breaks them (`mutate`), feeds them to a decoder
(`targets`) and holds what comes out against the promises (`check`):

- nothing but an `AIChatError` ever comes out, and no decoder leaves it to `Pipeline` to
  turn a blunder into one;
- chunks keep to the grammar up to the end, or up to the error;
- they fold, and the response survives JSON;
- a tool call is valid only if its arguments are one JSON object;
- the message that came can be sent back, or is refused in our own words;
- the answer does not depend on where the network cut it;
- errors are bounded, and survive pickle and copy.

The recordings of others (``AICHAT_CORPUS`` or ``shared/corpus``) are seeds as well where
they are there. An input is a function of target, seed and number, so a finding can be had
again from its report; ``--keep`` writes down its bytes. With ``--atheris`` (``pip install
atheris``) coverage leads the way instead; what follows it goes to libFuzzer.

`tests/test_fuzz.py` runs a short pass. What was found is a test beside the decoder.
"""
