"""The process in which formats of your own run: it may hang, grow and crash, which costs the guilty messages only.

`owner` has the one worker of a process, `requests` what can be asked of it, `exchange` and `limits` watch over an
answer, `process` starts and ends it; `main` is what runs inside. Both sides share `framing` and `wire`.
"""
