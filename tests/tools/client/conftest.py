"""The fixtures of the service, which the client asks."""

from tests.tools.service.conftest import furnished, service  # noqa: F401 # asked for by name
