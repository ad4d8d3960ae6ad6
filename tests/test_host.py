"""What the pages of one server share, and no other server has."""

import distributed
import pytest
from distributed.system import MEMORY_LIMIT
from waiting import until
from workers import ThreadWorkers

pytest.importorskip("panel")

from smoot_explore.explorer import host as host_module
from smoot_explore.explorer.host import Host, shared_host
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state.session import SessionState


def test_all_workers_of_a_server_together_have_nine_tenths_of_the_memory(monkeypatch):
    shares = []

    def no_cluster(*, n_workers, memory_limit, **options):
        shares.append(n_workers * memory_limit)
        raise OSError("no cluster here")

    monkeypatch.setattr(distributed, "LocalCluster", no_cluster)
    host = Host(ServerSettings(max_trainings=3))
    for engine in (host.trainings, host.measurements):
        with pytest.raises(OSError, match="no cluster here"):
            engine._workers._started()
    host.close()
    assert sum(shares) == pytest.approx(0.9 * MEMORY_LIMIT, rel=1e-6)
    assert shares[0] == pytest.approx(3 * shares[1], rel=1e-6)


def test_closing_a_server_leaves_the_trainings_of_another_alone(tmp_path, monkeypatch):
    workers = []

    def threads(n=1, **options):
        workers.append(ThreadWorkers(n))
        return workers[-1]

    monkeypatch.setattr(host_module, "DaskWorkers", threads)
    hosts = [Host(ServerSettings(runs=tmp_path, max_queue=queue)) for queue in (1, 2)]
    states = [SessionState(host.settings, host.trainings, None, (), host.measurements) for host in hosts]
    for host, state in zip(hosts, states, strict=True):
        state.train.param.update(data_name="shapes", train_images=40)
        state.train.config.epochs = 10_000
        host.visits.begin("a name", state, lambda: True)
        state.train.start()
    until(lambda: all(state.train.poll() and state.train.status == "running" for state in states))
    training = states[0].train.training
    hosts[0].close()
    until(lambda: training.ended)
    assert not states[1].train.training.ended
    assert [host.trainings.max_queue for host in hosts] == [1, 2]
    hosts[1].close()
    until(lambda: not any(one._channels for one in workers))  # no thread computes when the interpreter ends


def test_pages_that_a_script_makes_share_a_host_where_their_settings_are_the_same():
    first, again, other = (ServerSettings(max_queue=queue) for queue in (7, 7, 8))
    assert shared_host(first) is shared_host(again)
    assert shared_host(first) is not shared_host(other)
