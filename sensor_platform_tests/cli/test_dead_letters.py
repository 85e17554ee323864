"""`dead-letters`: listed, retried and discarded."""

from sensor_platform_tests.cli.shell import Shell

LETTER_KEYS = [
    "id",
    "state",
    "stage",
    "code",
    "detail",
    "topic",
    "payload_base64",
    "received_at",
    "micro_batch",
    "sequence",
    "attempts",
    "next_attempt_at",
]


def test_dead_letters(loaded: Shell) -> None:
    (letter,) = loaded.json("dead-letters", "list", "--json")
    assert list(letter) == LETTER_KEYS
    assert (letter["state"], letter["code"], letter["payload_base64"]) == ("pending", "invalid_json", "cnViYmlzaA==")
    assert loaded.json("dead-letters", "show", str(letter["id"]), "--json") == letter
    assert loaded.json("dead-letters", "list", "--state", "resolved", "--json") == []
    (dry,) = loaded.json("dead-letters", "retry", str(letter["id"]), "--dry-run", "--json")
    assert (list(dry), dry["state"], dry["attempts"]) == (LETTER_KEYS, "pending", 1)
    assert loaded.json("dead-letters", "show", str(letter["id"]), "--json") == letter
    (tried,) = loaded.json("dead-letters", "retry", str(letter["id"]), "--json")
    assert (list(tried), tried["state"], tried["attempts"]) == (LETTER_KEYS, "pending", 1)
    (discarded,) = loaded.json("dead-letters", "discard", str(letter["id"]), "--why", "a test", "--json")
    assert (list(discarded), discarded["state"]) == (LETTER_KEYS, "discarded")
    assert "discarded" in loaded("dead-letters", "list").stdout
