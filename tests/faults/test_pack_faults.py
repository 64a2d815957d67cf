"""`audit pack` killed anywhere, and on a disk that is full: a folder of its name is whole."""

from __future__ import annotations

import json

from tests.faults.killing import killed_everywhere, make_base
from tests.faults.running import Host
from tests.faults.small_disk import small_disk
from tests.faults.writes import VALUES
from tests.tools.test_verifier import failing

PACK = ("audit", "pack", "packs/one", "--with-access")
REFUSALS = {
    "pack-disk-full", "pack-not-writable", "pack-unchecked", "store-full", "store-unreachable",
    "store-not-writable",
}  # fmt: skip


def require_whole_or_absent(host, packs) -> bool:
    """Whether it is there; what opened it is recorded then."""
    there = [path.name for path in packs.iterdir()] if packs.exists() else []
    topics = [row["topic"] for row in host.ok("log", "events", "--limit", "0")]
    if "one" not in there:
        return False
    assert failing(packs / "one") == []
    assert topics[-1] == "audit.queried"
    return True


def test_a_pack_that_is_killed_is_whole_or_has_no_name_and_is_made_again(base, tmp_path):
    whole = []
    for host, ended in killed_everywhere(base, tmp_path, *PACK):
        assert VALUES not in ended.both
        packs = host.home / "packs"
        whole.append(require_whole_or_absent(host, packs))
        again = host.run(*PACK)
        assert again.code == (5 if whole[-1] else 0), again
        assert require_whole_or_absent(host, packs)
        assert [path.name for path in packs.iterdir() if path.name != ".one.lock"] == ["one"]
    assert not whole[0]


def test_a_pack_on_a_small_disk_is_made_once_there_is_room(tmp_path_factory):
    with small_disk(tmp_path_factory.mktemp("small") / "disk") as disk:
        host = make_base(Host(disk.nursery, disk.path.parent))
        packs, room, refused = disk.seen / "packs", 0, []
        while True:
            disk.fill(but_bytes=room)
            ended = host.run("audit", "pack", "disk/packs/one", "--with-access")
            disk.make_room()
            if ended.code == 0:
                break
            assert ended.code == 7, ended
            refused.append(ended.error["code"])
            assert not packs.exists() or list(packs.iterdir()) == []
            room = 2 * room or 4096
            assert room < 16 * 1024**2
        assert refused
        assert set(refused) <= REFUSALS
        assert failing(packs / "one") == []
        assert json.loads(ended.out)["accesses"] == 1
