//! Where a value lies on an axis, and which values are written beside it.

use crate::units::thousands;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// From zero.
    Linear,
    Log,
    /// Percentiles by their distance from 100, so that 90, 99 and 99.9 are equally far apart.
    Percentile,
}

#[derive(Debug, Clone)]
pub struct Axis {
    pub label: &'static str,
    scale: Scale,
    from: f64,
    to: f64,
    pub ticks: Vec<f64>,
}

/// Steps that read well between two powers of ten.
const STEPS: [f64; 3] = [1.0, 2.0, 5.0];

impl Axis {
    /// An axis that holds all `values`.
    pub fn of(label: &'static str, scale: Scale, values: impl Iterator<Item = f64>) -> Self {
        let usable = |value: &f64| value.is_finite() && (scale != Scale::Log || *value > 0.0);
        let (low, high) = values.filter(usable).fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
        let (low, high) = if low > high { (1.0, 10.0) } else { (low, high) };
        match scale {
            Scale::Linear => Self::linear(label, high),
            Scale::Log => Self::log(label, low, high),
            Scale::Percentile => {
                let all = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999];
                let ticks = all.into_iter().filter(|tick| *tick <= high + 1e-9).collect();
                Self { label, scale, from: 0.0, to: high, ticks }
            }
        }
    }

    /// An axis of a few given values, each with its tick.
    pub fn of_counts(label: &'static str, values: &[f64]) -> Self {
        let mut axis = Self::of(label, Scale::Log, values.iter().copied());
        let (low, high) = values.iter().fold((f64::MAX, 0f64), |(l, h), v| (l.min(*v), h.max(*v)));
        // Room beside the first and the last.
        let room = (high / low).powf(0.06).max(1.2);
        (axis.from, axis.to, axis.ticks) = (low / room, high * room, values.to_vec());
        axis
    }

    /// From zero to exactly the largest value.
    pub fn up_to(label: &'static str, values: impl Iterator<Item = f64>) -> Self {
        let high = values.fold(0.0, f64::max);
        let mut axis = Self::of(label, Scale::Linear, std::iter::once(high));
        if high > 0.0 {
            axis.to = high;
            axis.ticks.retain(|tick| *tick <= high * 1.001);
        }
        axis
    }

    fn linear(label: &'static str, high: f64) -> Self {
        let rough = (high / 5.0).max(1e-9);
        let power = 10f64.powf(rough.log10().floor());
        let step = STEPS.into_iter().chain([10.0]).map(|s| s * power).find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(10.0 * power);
        let count = (high / step).ceil().max(1.0) as usize;
        let ticks = (0..=count).map(|n| n as f64 * step).collect();
        Self { label, scale: Scale::Linear, from: 0.0, to: count as f64 * step, ticks }
    }

    fn log(label: &'static str, low: f64, high: f64) -> Self {
        let first = low.log10().floor() as i32;
        let last = high.log10().ceil() as i32;
        let all: Vec<f64> =
            (first..=last).flat_map(|power| STEPS.map(|step| step * 10f64.powi(power))).collect();
        let from = all.iter().copied().filter(|tick| *tick <= low * 1.001).fold(0.0, f64::max);
        let to = all.iter().copied().find(|tick| *tick >= high * 0.999).unwrap_or(high);
        let to = if to <= from { from * 2.0 } else { to };
        let decades = (to / from).log10();
        let whole = |tick: &f64| decades < 3.2 || (tick.log10() - tick.log10().round()).abs() < 1e-6;
        let ticks = all.into_iter().filter(|tick| *tick >= from * 0.999 && *tick <= to * 1.001).filter(whole);
        Self { label, scale: Scale::Log, from, to, ticks: ticks.collect() }
    }

    /// 0 at the low end, 1 at the high end.
    pub fn place(&self, value: f64) -> f64 {
        let at = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(f64::MIN_POSITIVE).log10(),
            Scale::Percentile => -(1.0 - value / 100.0).max(1e-9).log10(),
        };
        let (from, to) = (at(self.from), at(self.to));
        if to > from { ((at(value) - from) / (to - from)).clamp(0.0, 1.0) } else { 0.5 }
    }

    pub fn tick_text(&self, tick: f64) -> String {
        match self.scale {
            Scale::Percentile => format!("{tick}%"),
            _ if tick >= 1_000.0 => thousands(tick.round() as u64),
            // Without the noise of binary fractions.
            _ => format!("{}", (tick * 1e6).round() / 1e6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_their_values_and_a_few_ticks() {
        for scale in [Scale::Linear, Scale::Log] {
            for (low, high) in [(0.3, 0.9), (83.0, 1331.0), (1.0, 10_000.0), (5.0, 5.0)] {
                let axis = Axis::of("x", scale, [low, high].into_iter());
                assert!((2..=14).contains(&axis.ticks.len()), "{axis:?}");
                assert!(axis.from <= low * 1.001 && axis.to >= high * 0.999, "{axis:?}");
                assert!(axis.ticks.iter().all(|tick| (0.0..=1.0).contains(&axis.place(*tick))));
            }
        }
    }

    #[test]
    fn percentiles_are_evenly_apart_by_nines() {
        let axis = Axis::of("x", Scale::Percentile, [99.9].into_iter());
        let places = [90.0, 99.0, 99.9].map(|p| axis.place(p));
        assert!((places[1] - places[0] - (places[2] - places[1])).abs() < 1e-9, "{places:?}");
        assert_eq!(axis.tick_text(99.9), "99.9%");
    }

    #[test]
    fn nothing_to_draw_is_still_an_axis() {
        let axis = Axis::of("x", Scale::Log, std::iter::empty());
        assert!(axis.ticks.len() >= 2 && axis.place(0.0) == 0.0);
    }
}
