//! Figures out of samples.

/// The middle of some samples, 0 of none.
pub fn median(samples: &[f64]) -> f64 {
    percentile(samples, 50.0)
}

/// The smallest sample that so many percent of all are not above (nearest rank); 0 of none.
pub fn percentile(samples: &[f64], percent: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// How steeply `y` grows with `x`, each pair against the first: 1 is a straight line through the origin, less is
/// flatter. The steepest of all.
pub fn steepest(points: &[(f64, f64)]) -> f64 {
    let Some((&(x0, y0), rest)) = points.split_first() else { return 0.0 };
    rest.iter().map(|(x, y)| (y / y0).ln() / (x / x0).ln()).fold(f64::NEG_INFINITY, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        let samples: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(percentile(&samples, 99.0), 198.0);
        assert_eq!(percentile(&samples, 100.0), 200.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[7.0]), 7.0);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn a_straight_line_grows_by_1_and_a_square_by_2() {
        let line: Vec<_> = [1.0, 10.0, 100.0].map(|x| (x, 3.0 * x)).into();
        let square: Vec<_> = [1.0, 10.0, 100.0].map(|x| (x, x * x)).into();
        assert!((steepest(&line) - 1.0).abs() < 1e-9);
        assert!((steepest(&square) - 2.0).abs() < 1e-9);
        assert!(steepest(&[(1.0, 5.0), (10.0, 5.0)]).abs() < 1e-9, "flat");
    }
}
