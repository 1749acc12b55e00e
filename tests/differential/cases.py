"""All cases, in the order in which they run."""

import cases_produce  # noqa: F401
import cases_read  # noqa: F401
import cases_sessions  # noqa: F401
import cases_topics  # noqa: F401
import cases_configs  # noqa: F401
import cases_groups  # noqa: F401
import cases_members  # noqa: F401
import cases_consumer  # noqa: F401
import cases_cluster  # noqa: F401
import cases_admin  # noqa: F401
import cases_broker  # noqa: F401
