"""Numbers as people read them."""

from django import template

register = template.Library()


@register.filter
def thousands(number: int) -> str:
    return f"{number:,}"


@register.filter
def ordinal(number: int) -> str:
    """1 → “1st”."""
    ends = {1: "st", 2: "nd", 3: "rd"}
    teen = 10 <= number % 100 <= 20
    return f"{number}{'th' if teen else ends.get(number % 10, 'th')}"


@register.filter
def magnitude(number: int) -> str:
    """1,720,574,976 → “1.7 billion”."""
    for size, word in ((10**9, "billion"), (10**6, "million")):
        if number >= size:
            short = f"{number / size:.0f}" if number >= 100 * size else f"{number / size:.1f}"
            return f"{short} {word}"
    return f"{number:,}"


@register.filter
def idle_time(minutes: int) -> str:
    if minutes < 1:
        return "less than a minute"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


@register.filter
def duration(seconds: int | None) -> str:
    """How long it still takes, as one says it."""
    if seconds is None:
        return ""
    if seconds < 60:
        return "less than a minute"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@register.filter
def share(done: int, total: int) -> int:
    """Whole percents."""
    return int(100 * done / total) if total else 0
