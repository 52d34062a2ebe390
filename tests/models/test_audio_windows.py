import numpy as np
import pytest

from models.audio_generation.windows import Joining, joints, lay, spans

SIZE, OVERLAP = 16, 4


class TestWindows:
    @pytest.mark.parametrize("rows", [1, 15, 16, 17, 28, 29, 100])
    def test_cover_every_row_and_no_more_of_them_than_needed(self, rows: int) -> None:
        windows = lay(rows, size=SIZE, overlap=OVERLAP)
        assert set(windows.index.ravel()) == set(range(windows.rows))
        assert rows <= windows.rows < rows + SIZE
        assert len(windows) == 1 or len(windows) * (SIZE - OVERLAP) < rows + SIZE

    def test_lie_where_they_lie_however_long_the_sequence_is(self) -> None:
        short, long = (lay(rows, size=SIZE, overlap=OVERLAP) for rows in (40, 400))
        assert long.starts[: len(short)] == short.starts

    @pytest.mark.parametrize("rows", [1, 5, 15, 16, 24, 25, 100])
    def test_of_a_loop_are_exactly_as_many_rows_and_overlap_across_its_end(self, rows: int) -> None:
        windows = lay(rows, size=SIZE, overlap=OVERLAP, circular=True)
        assert windows.rows == rows
        assert len(windows) >= 2
        across = [window for window in windows.index if {0, rows - 1} <= set(window)]
        assert across
        assert np.bincount(windows.index.ravel(), minlength=rows).min() >= 1

    def test_are_the_same_on_a_finer_sequence(self) -> None:
        windows = lay(40, size=SIZE, overlap=OVERLAP)
        assert windows.times(4) == lay(4 * windows.rows, size=4 * SIZE, overlap=4 * OVERLAP)


@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("rows", [5, 16, 17, 40, 100])
class TestJoining:
    @pytest.mark.parametrize("joining", ["average", "swap"])
    def test_what_all_windows_agree_on_is_kept(self, rows: int, circular: bool, joining: Joining) -> None:
        windows = lay(rows, size=SIZE, overlap=OVERLAP, circular=circular)
        made = joints(windows, joining)
        truth = np.random.default_rng(0).normal(size=windows.rows)
        predicted = truth[windows.index].ravel()
        for weight in made.weight:
            assert np.allclose((weight * predicted[made.cover]).sum(0), truth, atol=1e-6)

    def test_an_average_follows_the_window_whose_middle_is_nearest(self, rows: int, circular: bool) -> None:
        windows = lay(rows, size=SIZE, overlap=OVERLAP, circular=circular)
        if len(windows) > 1 and rows > SIZE:
            share = windows.share
            assert np.all(share[:, SIZE // 2] >= share[:, 0])
            assert np.all(np.abs(np.diff(share[1, : SIZE // 2])) < 0.5)

    def test_a_swap_takes_each_row_whole_and_from_another_window_at_the_next_step(
        self, rows: int, circular: bool
    ) -> None:
        windows = lay(rows, size=SIZE, overlap=OVERLAP, circular=circular)
        made = joints(windows, "swap")
        assert set(made.weight.ravel()) <= {0.0, 1.0}
        shared = np.bincount(windows.index.ravel(), minlength=windows.rows) > 1
        if len(made.weight) > 1:
            taken = made.weight.argmax(1)
            assert np.all((taken[0] != taken[1]) == shared)


class TestSpans:
    @pytest.mark.parametrize("rows", [20, 21, 36, 100])
    @pytest.mark.parametrize("circular", [False, True])
    def test_what_is_kept_is_every_row_once_and_in_order(self, rows: int, circular: bool) -> None:
        kept = np.concatenate(
            [span.index[span.keep] for span in spans(rows, size=20, context=3, needed=rows, circular=circular)]
        )
        assert np.array_equal(kept[:rows], np.arange(rows))

    @pytest.mark.parametrize("rows", [20, 21, 36, 100])
    def test_what_is_kept_has_its_context_or_is_at_the_end(self, rows: int) -> None:
        for span in spans(rows, size=20, context=3, needed=rows):
            assert np.array_equal(span.index, span.index[0] + np.arange(20))
            assert span.keep.start >= 3 or span.index[0] == 0
            assert span.keep.stop <= 17 or span.index[-1] == rows - 1

    def test_nothing_is_made_behind_what_is_needed(self) -> None:
        assert len(spans(100, size=20, context=3, needed=17)) == 1
        assert len(spans(100, size=20, context=3, needed=18)) == 2

    def test_a_loop_shorter_than_a_span_is_seen_again_and_again(self) -> None:
        (span,) = spans(5, size=20, context=3, needed=5, circular=True)
        assert list(span.index[:8]) == [2, 3, 4, 0, 1, 2, 3, 4]
