"""A host that is a folder: whoever runs the tests is root there, and the machine stays as it is."""

import grp
import os
import pwd

import pytest

from cloudconfig import intake


def play_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """What root alone may do is left out, and all files seem to be root's."""
    root, group = pwd.getpwuid(0), grp.getgrgid(0)
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: root)
    monkeypatch.setattr(grp, "getgrgid", lambda _gid: group)
    monkeypatch.setattr(os, "chown", lambda *_: None)
    monkeypatch.setattr("socket.sethostname", lambda _name: None)
    monkeypatch.setattr(intake, "_settle", lambda: None)
