"""The explorer for `panel serve apps/explorer.py`; `smoot-explore serve` needs no such file. See docs/serving.md."""

from smoot_explore.explorer.host import shared_host
from smoot_explore.explorer.page import build_page
from smoot_explore.explorer.settings import ServerSettings

build_page(shared_host(ServerSettings.from_environment())).servable()
