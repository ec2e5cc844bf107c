"""Another authority without a gap: all come to trust it, then it signs, then the old one goes."""

from dataclasses import replace

from builder.pki.errors import PkiInputError
from builder.pki.folder import Folder
from builder.pki.issuing import AUTHORITY_YEARS, new_authority
from builder.pki.register import Register, Stage


def begin(folder: Folder, years: int = AUTHORITY_YEARS) -> Register:
    """Make the next authority: it is to be trusted from now on, and signs nothing yet.

    Raises:
        PkiInputError: a rotation is under way.
    """

    def step(register: Register) -> Register:
        if len(register.trusted()) > 1:
            raise PkiInputError(
                "a rotation is under way: bedplate pki rotate --use lets the next authority sign,"
                " bedplate pki rotate --finish takes the former one away"
            )
        made = new_authority(folder, Stage.NEXT, years)
        return replace(register, authorities=(*register.authorities, made))

    return folder.change(step)


def use(folder: Folder) -> Register:
    """Let the next authority sign.

    Raises:
        PkiInputError: there is none.
    """
    following = {Stage.NEXT: Stage.ISSUING, Stage.ISSUING: Stage.FORMER}

    def step(register: Register) -> Register:
        if not any(each.stage is Stage.NEXT for each in register.authorities):
            raise PkiInputError("there is no next authority; bedplate pki rotate makes one")
        found = (
            replace(each, stage=following.get(each.stage, each.stage))
            for each in register.authorities
        )
        return replace(register, authorities=tuple(found))

    return folder.change(step)


def finish(folder: Folder, *, force: bool = False) -> Register:
    """Trust the former authority no more.

    Raises:
        PkiInputError: there is none, or somebody has nothing but its certificate.
    """

    def step(register: Register) -> Register:
        former = {each.ident for each in register.authorities if each.stage is Stage.FORMER}
        if not former:
            raise PkiInputError("no authority is on its way out; see bedplate pki show")
        now = folder.now()
        left = [each for each in register.current() if each.authority in former and each.holds(now)]
        if left and not force:
            names = ", ".join(each.name for each in left)
            raise PkiInputError(
                f"these have certificates of the former authority alone: {names}; renew or revoke"
                " them first (--force leaves them shut out)"
            )
        found = (
            replace(each, stage=Stage.RETIRED) if each.ident in former else each
            for each in register.authorities
        )
        return replace(register, authorities=tuple(found))

    return folder.change(step)
