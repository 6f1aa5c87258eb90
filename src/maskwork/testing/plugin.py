"""The pytest plugin: a `mask_audit` fixture whose failure message is the report. pytest loads it once installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..proof import Report


@pytest.fixture
def mask_audit() -> Callable[..., Report]:
    """`mask_audit(model, input_ids, expect, checks=…)`: fails the test unless the audit is ok; returns the report.

    Arguments are those of `mw.audit`. torch is imported when it is first called, so that other tests do not wait.
    """

    def run(model: Any, input_ids: Any, expect: Any = None, **options: Any) -> Report:
        __tracebackhide__ = True
        from ..proof import audit

        report = audit(model, input_ids, expect, **options)
        if not report.ok:
            pytest.fail(str(report), pytrace=False)
        return report

    return run
