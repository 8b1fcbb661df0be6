//! From values to places on a line, and the round numbers that are written at it.

use super::Plot;

/// From values to places.
pub(super) struct Scale {
    least: f64,
    most: f64,
    pub(super) powers: bool,
}

impl Scale {
    pub(super) fn of(plot: &Plot) -> Scale {
        const APART: f64 = 30.0;
        let ranges = || plot.bars.iter().filter_map(|bar| bar.range);
        // Where each is seen to be: what is uncertain lies in the middle of its range.
        let middles = plot.bars.iter().filter_map(|bar| {
            bar.value.or_else(|| bar.range.map(|(low, high)| (low.max(0.0) * high.max(0.0)).sqrt()))
        });
        let middles: Vec<f64> = middles
            .chain(plot.marks.iter().map(|(value, _)| *value))
            .filter(|value| value.is_finite())
            .collect();
        let most_of = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        let least_of = |values: &[f64], most: f64| {
            values.iter().copied().filter(|value| *value > 0.0).fold(most, f64::min)
        };
        let middle = most_of(&middles);
        let apart = middle / least_of(&middles, middle) > APART;
        // Ranges have room too.
        let ends: Vec<f64> =
            ranges().flat_map(|(low, high)| [low, high]).filter(|end| end.is_finite()).collect();
        let all = [middles, ends].concat();
        let most = most_of(&all);
        if most <= 0.0 {
            return Scale { least: 0.0, most: 1.0, powers: false };
        }
        if plot.bars.iter().all(|bar| bar.value.is_none_or(|value| value > 0.0)) && apart {
            return Scale { least: 10_f64.powf(least_of(&all, most).log10().floor()), most, powers: true };
        }
        Scale { least: 0.0, most: most * 1.02, powers: false }
    }

    pub(super) fn part(&self, value: f64) -> f64 {
        let part = if self.powers {
            (value.max(self.least).log10() - self.least.log10()) / (self.most.log10() - self.least.log10())
        } else {
            value / self.most
        };
        part.clamp(0.0, 1.0)
    }

    /// Round numbers, about `count` of them.
    pub(super) fn ticks(&self, count: u32) -> Vec<f64> {
        if self.powers {
            let first = self.least.log10().round() as i32;
            return (first..=self.most.log10().floor() as i32).map(|power| 10_f64.powi(power)).collect();
        }
        let rough = self.most / f64::from(count.clamp(2, 6));
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|part| part * power)
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        (0..).map(|index| step * f64::from(index)).take_while(|tick| *tick <= self.most).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_begin_at_zero_or_are_of_powers() {
        let mut plot = Plot::new("p", "us");
        plot.bar("a", 10.0, "10").bar("b", 40.0, "40");
        let near = Scale::of(&plot);
        assert!(!near.powers && near.part(0.0) == 0.0);
        assert_eq!(near.ticks(4), [0.0, 20.0, 40.0]);
        plot.bar("c", 4000.0, "4000");
        let far = Scale::of(&plot);
        assert!(far.powers && far.part(4000.0) == 1.0);
        assert_eq!(far.ticks(4), [10.0, 100.0, 1000.0]);
        // What is uncertain has its true place, and no end of a range is cut.
        plot.uncertain("d", [2.0, 50_000.0], "too noisy").range("e", [20.0, 0.5, 30.0], "20");
        let all = Scale::of(&plot);
        assert!(all.powers && all.part(50_000.0) == 1.0 && all.part(4000.0) < 0.85);
        assert!(all.part(0.5) > 0.0 && all.part(0.5) < all.part(2.0));
    }
}
