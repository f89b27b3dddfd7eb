"""Prompts on disk: they survive a restart, and nothing in their folder can do harm."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.models.cache import load_prompt_cache, save_prompt_cache

from mlxgui.engine.cache import disk
from mlxgui.engine.cache.prompt_cache import PromptCache
from tests.engine.cache.models import Ask, assert_same, memory, model_of, run
from tests.engine.cache.states import BYTES_PER_TOKEN, KINDS, full, leaves, recurrent

pytestmark = pytest.mark.model

TOKENS = list(range(400))
LAYOUT = [(len(TOKENS) + 10, "user")]
ASKED = [*TOKENS, *[7] * 10]


def opened(folder: Path, **changes: Any) -> PromptCache:
    return memory(**{"folder": folder, "bytes_on_disk": 1 << 26, **changes})


def kept_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.safetensors"))


def put_aside(folder: Path) -> list[str]:
    return sorted(os.listdir(folder / "quarantine")) if (folder / "quarantine").exists() else []


def wait_for(true: Callable[[], Any]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """With one entry of 400 tokens."""
    kept = opened(tmp_path / "prompts")
    kept.store(TOKENS, full(TOKENS), "user")
    assert kept.close()
    yield tmp_path / "prompts"


@pytest.mark.parametrize("kind", KINDS)
def test_every_state_comes_back_as_it_was_and_mlx_lm_reads_it(tmp_path: Path, kind: str) -> None:
    state = KINDS[kind](TOKENS)
    kept = opened(tmp_path)
    kept.store(TOKENS, state, "user")
    want = kept.fetch(ASKED, LAYOUT)
    assert kept.close() and want.tier == "memory"
    again = opened(tmp_path)
    found = again.fetch(ASKED, LAYOUT)
    assert (found.tier, found.cached_tokens, found.reason) == ("disk", len(TOKENS), "hit")
    assert leaves(found.cache or []) == leaves(want.cache or [])
    (name,) = kept_files(tmp_path)
    assert leaves(load_prompt_cache(str(tmp_path / name))) == leaves(want.cache or [])
    assert again.fetch(ASKED, LAYOUT).tier == "memory"


@pytest.mark.parametrize("name", ["full attention", "sliding window", "mixed in each layer"])
def test_after_a_restart_a_model_goes_on_from_disk(tmp_path: Path, name: str) -> None:
    first = Ask([1, 2, 3, 4, 5, 6] * 50, [(60, "system"), (300, "user")])
    kept = opened(tmp_path)
    run(model_of(name), [first], kept)
    assert kept.close()
    second = Ask([*first.tokens[:-1], 9, 8, 7], [(60, "system"), (302, "user")])
    (answer,) = run(model_of(name), [second], again := opened(tmp_path))
    assert answer.found is not None and answer.found.tier == "disk"
    assert answer.found.cached_tokens == 299
    assert_same(name, second, answer)
    again.close()


def test_writing_waits_for_a_quiet_moment_and_nothing_waits_for_it(tmp_path: Path) -> None:
    kept = opened(tmp_path)
    kept.store(TOKENS, full(TOKENS), "user")
    assert kept_files(tmp_path) == []
    wait_for(lambda: not kept.idle())
    assert len(kept_files(tmp_path)) == 1
    assert kept.stats()["disk"]["written"] == 1


def test_a_writer_that_hangs_holds_up_nobody(tmp_path: Path) -> None:
    kept = opened(tmp_path)
    assert kept.disk is not None
    kept.fetch(ASKED, LAYOUT)
    prompts = [[number, *TOKENS] for number in range(20)]
    name = kept.disk.name_of(full_array(prompts[0]), "user")
    pipe = (tmp_path / name).with_suffix(".part")
    os.mkfifo(pipe)  # opening it waits for a reader
    for tokens in prompts:
        kept.store(tokens, full(tokens), "user")
        kept.idle()
    assert kept.fetch([0, *ASKED], LAYOUT).cached_tokens == len(TOKENS) + 1
    assert kept_files(tmp_path) == [] and not kept.close(0.05)
    pipe.read_bytes()
    wait_for(lambda: len(kept_files(tmp_path)) == 19)
    assert kept.stats()["disk"]["failed"] == 1


def test_a_conversation_that_grew_has_one_file_and_its_system_prompt_another(
    tmp_path: Path,
) -> None:
    kept = opened(tmp_path)
    system = TOKENS[:300]
    kept.store(system, full(system), "system")
    for size in (310, 900, 1500):
        tokens = [*system, *([5] * (size - 300))]
        kept.store(tokens, full(tokens), "assistant")
        wait_for(lambda: not kept.idle())
    kinds = [name.rsplit("-", 2)[1:] for name in kept_files(tmp_path)]
    assert sorted(kinds) == [["1500", "assistant.safetensors"], ["300", "system.safetensors"]]


def test_what_is_short_is_not_written(tmp_path: Path) -> None:
    kept = opened(tmp_path)
    kept.store(TOKENS[:200], full(TOKENS[:200]), "user")
    assert kept.close() and kept_files(tmp_path) == []


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


def foreign(path: Path) -> None:
    save_prompt_cache(str(path), full(TOKENS), {"model": "another"})


def other_tokens(path: Path) -> None:
    twin = path.parent.parent / "twin"
    kept = opened(twin)
    tokens = [*TOKENS[:-1], 0]
    kept.store(tokens, full(tokens), "user")
    kept.close()
    shutil.copy(twin / kept_files(twin)[0], path)


def link(path: Path) -> None:
    target = path.parent.parent / "elsewhere"
    shutil.move(path, target)
    path.symlink_to(target)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "truncated in its header": lambda path: os.truncate(path, 60),
    "truncated in its data": lambda path: os.truncate(path, path.stat().st_size - 1000),
    "too long": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "random bytes": lambda path: path.write_bytes(os.urandom(4096)),
    "text": lambda path: path.write_text("Dear diary,\n" * 100),
    "a bit of its data": lambda path: flip(path, -5000),
    "a bit of its header": lambda path: flip(path, 30),
    "from mlx-lm": foreign,
    "of other tokens": other_tokens,
    "a symbolic link": link,
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "unreadable numbers": lambda path: path.write_bytes((1 << 62).to_bytes(8, "little") + b"{}"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_put_aside_and_the_prompt_is_read_anew(folder: Path, damage: str) -> None:
    (name,) = kept_files(folder)
    DAMAGE[damage](folder / name)
    kept = opened(folder)
    found = kept.fetch(ASKED, LAYOUT)
    assert (found.cache, found.cached_tokens, found.tier) == (None, 0, "")
    unread = "first_use" if damage in ("a symbolic link", "a folder") else "damaged"
    assert found.reason == unread
    assert kept_files(folder) == [] and put_aside(folder) == [name]
    assert kept.stats()["disk"]["quarantined"] == 1
    kept.store(TOKENS, full(TOKENS), "user")
    assert kept.close()
    assert opened(folder).fetch(ASKED, LAYOUT).tier == "disk"


@pytest.mark.parametrize("name", ["model.safetensors", "a-b-c-1-user.safetensors"])
def test_a_file_with_another_name_is_put_aside(folder: Path, name: str) -> None:
    shutil.copy(folder / kept_files(folder)[0], folder / name)
    assert opened(folder).fetch(ASKED, LAYOUT).tier == "disk"
    assert put_aside(folder) == [name]


def test_a_file_that_is_no_entry_stays_where_it_is(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    assert opened(folder).fetch(ASKED, LAYOUT).tier == "disk"
    assert (folder / "notes.txt").read_text() == "mine"


def test_another_signature_is_never_used_and_the_reason_says_so(folder: Path) -> None:
    kept = opened(folder, signature="another model")
    found = kept.fetch(ASKED, LAYOUT)
    assert (found.cached_tokens, found.reason) == (0, "settings_changed")
    assert len(put_aside(folder)) == 1


def test_a_signature_that_only_the_name_claims_is_not_believed(folder: Path) -> None:
    other = opened(folder.parent / "other", signature="another model")
    other.store(TOKENS, recurrent(TOKENS), "user")
    other.close()
    (name,) = kept_files(folder)
    shutil.copy(folder.parent / "other" / kept_files(folder.parent / "other")[0], folder / name)
    assert opened(folder).fetch(ASKED, LAYOUT).cached_tokens == 0


def test_damage_found_while_running_is_the_reason(folder: Path) -> None:
    kept = opened(folder)
    assert kept.disk is not None
    assert list(kept.disk.adopt(full_array(ASKED)))
    kept.reset()
    flip(folder / kept_files(folder)[0], -5000)
    assert kept.fetch(ASKED, LAYOUT).reason == "damaged"
    assert kept.fetch(ASKED, LAYOUT).reason == "damaged"


def full_array(tokens: list[int]) -> Any:
    from mlxgui.engine.cache.trie import packed

    return packed(tokens)


def test_a_file_that_vanishes_is_a_miss(folder: Path) -> None:
    kept = opened(folder)
    assert kept.fetch(ASKED, LAYOUT).tier == "disk"
    kept.shelf.bound = 0
    kept.shelf.evict()
    (folder / kept_files(folder)[0]).unlink()
    assert kept.fetch(ASKED, LAYOUT).cached_tokens == 0


def test_the_folder_stays_within_its_bound_and_the_least_recently_used_goes(
    tmp_path: Path,
) -> None:
    bound = 5 * 400 * BYTES_PER_TOKEN
    kept = opened(tmp_path, bytes_on_disk=bound)
    prompts = [[number, *TOKENS[1:]] for number in range(12)]
    for tokens in prompts:
        kept.store(tokens, full(tokens), "user")
        wait_for(lambda: not kept.idle())
        kept.fetch([*prompts[0], 1], LAYOUT)
        assert sum(path.stat().st_size for path in tmp_path.glob("*.safetensors")) <= bound
    kept.close()
    again = opened(tmp_path, bytes_on_disk=bound)
    tiers = [again.fetch([*tokens, 1], LAYOUT).tier for tokens in prompts]
    assert tiers[0] == tiers[-1] == "disk" and tiers[1] == "" and tiers.count("disk") == 4


def test_the_quarantine_is_bounded(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"junk{number}.safetensors").write_bytes(b"junk")
    opened(tmp_path).fetch(ASKED, LAYOUT)
    assert len(put_aside(tmp_path)) == disk.QUARANTINED_FILES


def test_a_full_disk_stops_the_writing_only(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(disk, "SPARE_BYTES", 1 << 60)
    kept = opened(tmp_path)
    kept.store(TOKENS, full(TOKENS), "user")
    assert kept.close()
    assert kept_files(tmp_path) == [] and kept.stats()["disk"]["no_space"] == 1
    assert kept.fetch(ASKED, LAYOUT).tier == "memory"


def test_a_folder_that_cannot_be_written_is_never_fatal(tmp_path: Path) -> None:
    (tmp_path / "prompts").write_text("a file stands in the way")
    kept = opened(tmp_path / "prompts")
    kept.store(TOKENS, full(TOKENS), "user")
    assert kept.fetch(ASKED, LAYOUT).tier == "memory"
    assert kept.close()
    assert kept.stats()["disk"]["failed"] == 1


def test_half_a_file_of_a_crash_is_swept_away(folder: Path) -> None:
    (folder / "half.part").write_bytes(b"x" * 100)
    assert opened(folder).fetch(ASKED, LAYOUT).tier == "disk"
    assert not (folder / "half.part").exists()


def test_reset_empties_memory_disk_or_both(folder: Path) -> None:
    kept = opened(folder)
    assert kept.fetch(ASKED, LAYOUT).tier == "disk"
    kept.reset(memory=True, disk=False)
    assert kept.fetch(ASKED, LAYOUT).tier == "disk"
    kept.reset(memory=False, disk=True)
    assert kept_files(folder) == [] and kept.fetch(ASKED, LAYOUT).tier == "memory"
    kept.reset()
    assert kept.fetch(ASKED, LAYOUT).tier == ""


def test_what_was_on_its_way_to_disk_at_a_reset_is_found_again(tmp_path: Path) -> None:
    kept = opened(tmp_path)
    kept.store(TOKENS, full(TOKENS), "user")
    kept.idle()
    kept.reset()
    wait_for(lambda: kept_files(tmp_path))
    wait_for(lambda: not kept.idle())
    assert kept.fetch(ASKED, LAYOUT).tier == "disk"


def test_what_must_leave_memory_is_written_first(tmp_path: Path) -> None:
    bound = 500 * BYTES_PER_TOKEN
    kept = opened(tmp_path, bytes_in_memory=bound)
    other = [9, *TOKENS]
    kept.store(TOKENS, full(TOKENS), "user")
    kept.store(other, full(other), "user")
    assert kept.shelf.nbytes <= bound
    wait_for(lambda: kept.fetch(ASKED, LAYOUT).tier == "disk")


def test_the_writer_uses_no_mlx(tmp_path: Path) -> None:
    """mlx has streams only on the threads that made them; the writer gets plain memory."""
    from mlxgui.engine.cache.files import Header, Snapshot, read

    state = full(TOKENS)
    mx.eval([layer.state for layer in state])
    snapshot = Snapshot(state, full_array(TOKENS), {"signature": "x"})
    path = tmp_path / "one.safetensors"
    thread = threading.Thread(target=snapshot.write, args=(path,))
    thread.start()
    thread.join()
    back = read(path, Header(path))
    assert leaves(back) == leaves(state) and back[0].keys.dtype == mx.bfloat16
