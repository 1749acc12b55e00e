//! The middle and the width of a few measurements.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub median: f64,
    pub lowest: f64,
    pub highest: f64,
}

impl Spread {
    /// `None` if there are no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (&lowest, &highest) = (sorted.first()?, sorted.last()?);
        let (lower, upper) = ((sorted.len() - 1) / 2, sorted.len() / 2);
        Some(Self { median: (sorted[lower] + sorted[upper]) / 2.0, lowest, highest })
    }

    /// This over that: the widest range that the two spreads allow.
    pub fn over(self, other: Self) -> Self {
        Self {
            median: self.median / other.median,
            lowest: self.lowest / other.highest,
            highest: self.highest / other.lowest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middle_and_width() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, lowest: 1.0, highest: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of([]), None);
        let ratio = Spread::of([8.0, 10.0, 12.0]).unwrap().over(Spread::of([4.0, 5.0, 6.0]).unwrap());
        assert_eq!(ratio.median, 2.0);
        assert!(ratio.lowest < 1.4 && ratio.highest == 3.0);
    }
}
