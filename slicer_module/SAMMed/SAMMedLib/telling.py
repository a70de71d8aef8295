"""What the user is told of other scans, of an earlier one, of proposals and of channels."""

from __future__ import annotations

import re

from slicer.i18n import tr as _

from . import arriving, errands, wording

_HINT = re.compile(r"\s*\(--[a-z]+[^)]*\)")
_MIRROR = re.compile(r",? ?(or take objects of|:) the other side (counts )?with --mirror")


def refusal(text):
    """What the engine refuses, without the options of a command line."""
    text = _MIRROR.sub(_("; tick 'Other side as well' to take it from there"), text)
    text = _HINT.sub("", text)
    text = re.sub(r"; try --align (\w+)", _("; choose another alignment"), text)
    return wording.sentence(wording.with_names(text))


def findings(told, arrived, notes=()):
    """What is said of what was found."""
    said = []
    if arrived.ids:
        names = _few(list(arrived.ids))
        words = {
            errands.TAKE: _("{count} found: {names}"),
            errands.LEARNED: _("{count} found: {names}"),
            errands.FOLLOW: _("{count} there: {names}"),
            errands.PROPOSE: _("{count} proposed: {names}"),
        }[told.do]
        said.append(words.format(count=len(arrived.ids), names=names))
    elif not arrived.left_alone and not arrived.no_room:
        said.append(arriving.nothing(told.do))
    for one in told.found:
        if one.account.get("missing"):
            said.append(missing(told.do, one))
    if arrived.left_alone:
        said.append(_there(told.do, arrived.left_alone))
    if arrived.no_room:
        words = _("other segments have all voxels of {names}")
        said.append(words.format(names=_few(arrived.no_room)))
    if told.do == errands.FOLLOW and told.table and told.table["new"]:
        words = _("{count} new-looking: see the table")
        said.append(words.format(count=len(told.table["new"])))
    return " ".join(wording.sentence(one) for one in [*said, *notes])


def _there(do, names):
    if do == errands.PROPOSE:
        if len(names) == 1:
            return _("one proposal is a segment already")
        return _("{count} proposals are segments already").format(count=len(names))
    words = _("there already, and left as it was: {names}")
    return words.format(names=_few(names))


def missing(do, one):
    """Why something was not found."""
    why = one.account["missing"]
    if do == errands.FOLLOW:
        why = one.account.get("how") or why
        return _("not there now: {name} ({why})").format(name=one.name, why=why)
    return _("not found: {name} ({why})").format(name=one.name, why=why)


def _few(names):
    return ", ".join(names[:6]) + (", ..." if names[6:] else "")


def found_cells(one, arrived):
    """The cells of a line of what was found: object, ml, agreement, note."""
    account = one.account
    if account.get("missing"):
        return one.name, "", "", _("not found: {why}").format(why=account["missing"])
    note = ""
    if one.name in arrived.left_alone:
        note = _("was there already; left as it is")
    elif one.name in arrived.no_room:
        note = _("other segments have all its voxels")
    elif account.get("model"):
        note = _("the model {said}").format(said=account["model"])
    return one.name, _ml(account.get("ml")), agreement(account), note


def agreement(account):
    """How well several examples agree; how alike the scans are if there is only one."""
    if account.get("agreement") is not None:
        return f"{100 * account['agreement']:.0f} %"
    if account.get("likeness") is not None:
        return _("alike {percent}").format(percent=f"{100 * account['likeness']:.0f} %")
    return ""


def thing_cells(one, arrived, ml):
    """The cells of a line of what was proposed: thing, score, ml, part of."""
    part = one.account.get("parent", "")
    if one.name in arrived.left_alone:
        part = _("is a segment already")
    return one.name, f"{one.account['score']:.2f}", _ml(ml), part


def found_by(run):
    """How a segment came about that was found without a prompt; empty if it was not."""
    account = run.get("found")
    if account is None:
        return ""
    if "score" in account:
        words = _("Proposed with a score of {score}. Draw a prompt and press Segment to change it.")
        return words.format(score=f"{account['score']:.2f}")
    words = _("Taken from {scan}. Paint on it, or click what is missing, and press Segment.")
    if account.get("learned"):
        words = _("Found by {scan}. Paint on it, or click what is missing, and press Segment.")
    return words.format(scan=account.get("by", _("another scan")))


def change_cells(row):
    """The cells of a lesion: name, then, now, change in ml and %, doubling time, state."""
    new = row["state"] == "new"
    return (
        _("(new-looking)") if new else row["lesion"],
        _ml(row["then_ml"]),
        _ml(row["now_ml"]),
        "" if row["change_ml"] is None else f"{row['change_ml']:+.3g}",
        "" if row["change_percent"] is None else f"{row['change_percent']:+.0f} %",
        _doubling(row["doubling_days"]),
        {
            "there": _("there"),
            "gone": _("gone"),
            "outside": _("outside this scan"),
            "new": _("new"),
        }.get(row["state"], row["state"]),
    )


def _doubling(days):
    """Days in which a lesion doubles, or shrinks to a half."""
    if days is None:
        return ""
    words = _("{days} d") if days > 0 else _("halves in {days} d")
    return words.format(days=f"{abs(days):.0f}")


def compared(about):
    """What a table of changes is about."""
    words = _("Compared with {earlier}, {days} days before.")
    if not about.get("days"):
        words = _("Compared with {earlier}; the days between are not known.")
    told = words.format(earlier=repr(about.get("earlier", "")), days=f"{about.get('days', 0):.0f}")
    return told + " " + _("Click a line to go there.")


def aligned(lines, name):
    """What was done to a channel; empty if that is not known yet."""
    return next((line["said"] for line in lines if line["name"] == name), "")


def channels(run, lines, gone=()):
    """What is said of the channels after a segmentation: moved mm, agreement, what counted."""
    lost = [
        _("Channel {name} was removed from the scene and is not looked at.").format(name=name)
        for name in gone
    ]
    return [*lost, *(_seen(run, lines) if run.get("channels") else [])]


def _seen(run, lines):
    said = [
        _("Channel {name}: {what}.").format(name=line["name"], what=line["said"])
        for line in lines
        if line["moved_mm"]
    ]
    views = run["channels"]
    other = [n for n, view in views.items() if not view["error"] and not view["weight"]]
    if run.get("agreement") is not None:
        counted = ", ".join(f"{n} {view['weight']:.2f}" for n, view in views.items())
        words = _("Channels agree by {agreement}; they count {counted}.")
        agree = f"{100 * run['agreement']:.0f} %"
        said.append(words.format(agreement=agree, counted=counted))
    for name in other:
        words = _("Channel {name} means something else and was left out.")
        said.append(words.format(name=name))
    return said


def _ml(value):
    """Milliliters with as many digits as there is something to them."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
