//! Medians, and how far they are to be trusted.

/// A figure whose trusted range is wider than this part of it, or of what it is a part of, is not told.
pub const NOISY: f64 = 0.10;

/// One series, summed up.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// How many samples.
    pub count: usize,
    /// The least.
    pub min: f64,
    /// A tenth is below this.
    pub p10: f64,
    /// The median.
    pub p50: f64,
    /// A tenth is above this.
    pub p90: f64,
}

impl Summary {
    /// Sums up; `None` when there is nothing.
    pub fn of(samples: &[f64]) -> Option<Summary> {
        let sorted = sorted(samples.to_vec());
        let at = |part: f64| sorted.get(((sorted.len() - 1) as f64 * part).round() as usize).copied();
        Some(Summary {
            count: sorted.len(),
            min: *sorted.first()?,
            p10: at(0.1)?,
            p50: at(0.5)?,
            p90: at(0.9)?,
        })
    }
}

/// The least of `these` and of `those`, put together.
pub fn minima(these: &[f64], those: &[f64], together: impl Fn(f64, f64) -> f64) -> Option<f64> {
    Some(together(Summary::of(these)?.min, Summary::of(those)?.min))
}

fn sorted(mut samples: Vec<f64>) -> Vec<f64> {
    samples.sort_by(f64::total_cmp);
    samples
}

fn median(samples: &[f64]) -> f64 {
    let sorted = sorted(samples.to_vec());
    sorted[(sorted.len() - 1) / 2]
}

/// A median of samples, or of what pairs of the same round give, and the range it is trusted to lie in.
///
/// The range holds three: the 95 % interval by ranks, which takes samples as independent of each other; the medians of the first and of
/// the second half, which are the two passes of a run; and the 95 % interval of the medians of ten pieces of the run, which is the wider
/// the more neighbours in time are alike. A machine that is slower for some seconds, or for one of two passes, so widens it, where ranks
/// alone would promise too much.
#[derive(Clone, Copy, Debug)]
pub struct Pairs {
    /// The median.
    pub middle: f64,
    /// Where the range begins.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
}

impl Pairs {
    /// The samples as they are.
    pub fn alone(samples: &[f64]) -> Option<Pairs> {
        Pairs::of(samples.to_vec())
    }

    /// Each of `these` over the one of `those` from the same round.
    pub fn ratio(these: &[f64], those: &[f64]) -> Option<Pairs> {
        Pairs::of(these.iter().zip(those).map(|(a, b)| a / b).collect())
    }

    /// Each of `these` less the one of `those` from the same round.
    pub fn difference(these: &[f64], those: &[f64]) -> Option<Pairs> {
        Pairs::of(these.iter().zip(those).map(|(a, b)| a - b).collect())
    }

    /// How much longer the slowest hundredth of `these` takes than that of `those`; the range holds what each half of the run gives, and what the 95 %
    /// intervals of both by ranks do.
    pub fn ratio_of_slowest(these: &[f64], those: &[f64]) -> Option<Pairs> {
        const FEWEST: usize = 200;
        const PART: f64 = 0.99;
        let count = these.len().min(those.len());
        if count < FEWEST {
            return None;
        }
        // The one at this part of the way, and so many times its rank's deviation further.
        let at = |samples: &[f64], deviations: f64| {
            let sorted = sorted(samples.to_vec());
            let count = sorted.len() as f64;
            let rank = count * PART + deviations * (count * PART * (1.0 - PART)).sqrt();
            sorted[(rank.max(0.0) as usize).min(sorted.len() - 1)]
        };
        let part = |range: std::ops::Range<usize>| at(&these[range.clone()], 0.0) / at(&those[range], 0.0);
        let [middle, first, second] = [part(0..count), part(0..count / 2), part(count / 2..count)];
        let (least, most) = (at(these, -1.96) / at(those, 1.96), at(these, 1.96) / at(those, -1.96));
        let (low, high) = (middle.min(first).min(second).min(least), middle.max(first).max(second).max(most));
        Some(Pairs { middle, low, high })
    }

    fn of(values: Vec<f64>) -> Option<Pairs> {
        const FEWEST: usize = 8;
        const PIECES: usize = 10;
        /// Student's t for the 95 % interval of a mean of ten.
        const STUDENT: f64 = 2.262;
        if values.len() < FEWEST {
            return None;
        }
        let middle = median(&values);
        let (first, second) = values.split_at(values.len() / 2);
        let mut bounds = vec![median(first), median(second)];
        if values.len() >= 4 * PIECES {
            let piece = |index| &values[values.len() * index / PIECES..values.len() * (index + 1) / PIECES];
            let medians: Vec<f64> = (0..PIECES).map(|index| median(piece(index))).collect();
            let count = PIECES as f64;
            let mean = medians.iter().sum::<f64>() / count;
            let variance = medians.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (count - 1.0);
            let reach = STUDENT * (variance / count).sqrt();
            bounds.extend([middle - reach, middle + reach]);
        }
        let values = sorted(values);
        let (count, last) = (values.len() as f64, values.len() - 1);
        let reach = 0.98 * count.sqrt();
        bounds.push(values[((count / 2.0 - reach).floor().max(0.0) as usize).min(last)]);
        bounds.push(values[((count / 2.0 + reach).ceil() as usize).min(last)]);
        // Times are never less than the least of them, whatever the pieces say.
        let low = bounds.iter().copied().fold(middle, f64::min).max(values[0]);
        Some(Pairs { middle, low, high: bounds.into_iter().fold(middle, f64::max).min(values[last]) })
    }

    /// Too uncertain to be a figure, next to a `size` that it is a part of.
    pub fn is_noisy(&self, size: f64) -> bool {
        (self.high - self.low) / size > NOISY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random, the same in every run, between 0 and 1.
    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed.wrapping_mul(2).wrapping_add(1);
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    fn overlap(one: Pairs, other: Pairs) -> bool {
        one.low <= other.high && other.low <= one.high
    }

    /// Two runs of the same agree within their ranges, nearly always: when samples are independent, and when a machine is slower for a while.
    #[test]
    fn runs_of_the_same_agree() {
        for drift in [0.0, 0.3] {
            let run = |seed: u64| {
                let mut noise = noise(seed);
                let mut load = 0.0;
                let samples = (0..1000).map(|_| {
                    // What the machine is busy with changes slowly.
                    load = 0.99 * load + 0.01 * (noise() * 20.0 - 10.0);
                    100.0 + 40.0 * noise().powi(4) + drift * load * 10.0
                });
                Pairs::alone(&samples.collect::<Vec<_>>()).expect("there are enough")
            };
            let agree = (0..200).filter(|seed| overlap(run(*seed), run(seed + 1000))).count();
            assert!(agree >= 190, "{agree} of 200 at a drift of {drift}");
        }
    }

    /// What is slower by twice its noise shows as slower.
    #[test]
    fn what_is_slow_shows() {
        let mut noise = noise(7);
        let fast: Vec<f64> = (0..500).map(|_| 100.0 + 10.0 * noise()).collect();
        let slow: Vec<f64> = fast.iter().map(|time| time + 20.0 * noise()).collect();
        let (fast_range, slow_range) = (Pairs::alone(&fast).unwrap(), Pairs::alone(&slow).unwrap());
        assert!(slow_range.low > fast_range.high, "{fast_range:?} {slow_range:?}");
        let ratio = Pairs::ratio(&slow, &fast).unwrap();
        assert!(ratio.low > 1.05 && ratio.high < 1.2 && !ratio.is_noisy(ratio.middle), "{ratio:?}");
    }

    /// The slowest hundredth hangs on few samples, and its range says so.
    #[test]
    fn the_slowest_of_the_same_agree() {
        let run = |seed: u64| {
            let mut noise = noise(seed);
            let mut samples = || (0..1000).map(|_| 1.0 / (0.01 + noise())).collect::<Vec<f64>>();
            let (these, those) = (samples(), samples());
            Pairs::ratio_of_slowest(&these, &those).expect("there are enough")
        };
        let agree = (0..200).filter(|seed| overlap(run(*seed), run(seed + 1000))).count();
        assert!(agree >= 196, "{agree} of 200");
    }

    /// A run whose halves differ says so, though each half is steady.
    #[test]
    fn a_drift_widens_the_range() {
        let mut noise = noise(3);
        let samples: Vec<f64> = (0..400).map(|at| if at < 200 { 100.0 } else { 130.0 } + noise()).collect();
        let range = Pairs::alone(&samples).unwrap();
        assert!(range.low < 101.0 && range.high > 130.0 && range.is_noisy(range.middle), "{range:?}");
    }

    #[test]
    fn too_few_are_no_figure() {
        assert!(Pairs::alone(&[1.0; 7]).is_none());
        assert_eq!(
            Pairs::alone(&[1.0; 8]).map(|pairs| [pairs.low, pairs.middle, pairs.high]),
            Some([1.0; 3])
        );
        assert!(Summary::of(&[]).is_none());
    }
}
