from roles.proxy.sieve import MAX_EARLIER, Sieve


def test_each_job_keeps_the_target_that_the_miner_had_for_it() -> None:
    sieve = Sieve(100)
    sieve.change(50, since=5, tip_number=1)
    sieve.change(25, since=9, tip_number=1)
    assert [sieve.at(job_id, 1) for job_id in (1, 4, 5, 8, 9, 20)] == [100, 100, 50, 50, 25, 25]


def test_a_new_tip_forgets_earlier_targets() -> None:
    sieve = Sieve(100)
    sieve.change(50, since=5, tip_number=1)
    assert sieve.at(1, 2) == 50
    sieve.change(25, since=9, tip_number=2)
    assert (sieve.at(1, 2), sieve.at(9, 2)) == (50, 25)


def test_of_many_changes_the_latest_are_known() -> None:
    sieve = Sieve(1_000)
    for number in range(1, MAX_EARLIER + 9):
        sieve.change(1_000 - number, since=number, tip_number=1)
    assert sieve.at(MAX_EARLIER + 7, 1) == 1_000 - MAX_EARLIER - 7
    assert sieve.at(0, 1) == 1_000 - 8
