"""The pytest plugin: a `mask_audit` fixture whose failure message is the report. pytest loads it once installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..proof import Report


@pytest.fixture
def mask_audit() -> Callable[..., Report]:
    """Provide `mask_audit(model, input_ids, expect, checks=…)`: it fails the test unless the audit is ok.

    Its arguments are those of `mw.audit`, and it returns the report.
    """

    def run(model: Any, input_ids: Any, expect: Any = None, **options: Any) -> Report:
        __tracebackhide__ = True
        # torch is imported by the first call, so that other tests do not wait for the import
        from ..proof import audit

        report = audit(model, input_ids, expect, **options)
        if not report.ok:
            pytest.fail(str(report), pytrace=False)
        return report

    return run
