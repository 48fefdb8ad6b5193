from tensor_optix.cli.sparkline import bar, sparkline


def test_the_lowest_value_is_the_lowest_block_and_the_highest_the_highest() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"


def test_a_short_series_stays_short_and_a_long_one_is_averaged_into_the_width() -> None:
    assert sparkline([1.0, 2.0], 10) == "▁█"
    assert sparkline([0.0, 0.0, 0.0, 7.0, 7.0, 7.0], 2) == "▁█"
    assert len(sparkline([float(i) for i in range(1001)], 30)) == 30


def test_a_flat_series_is_a_flat_line_and_no_series_is_empty() -> None:
    assert sparkline([5.0, 5.0, 5.0], 10) == "▄▄▄"
    assert sparkline([5.0] * 7, 3) == "▄▄▄"
    assert sparkline([], 10) == ""


def test_a_bar_is_full_at_the_whole_and_never_longer() -> None:
    assert [bar(part, 20, 10) for part in (0, 7, 20, 99)] == ["░" * 10, "████░░░░░░", "█" * 10, "█" * 10]
    assert bar(1, 0, 3) == "░░░"
