//! Medians, and how far they are to be trusted.

/// A ratio or difference whose trusted range is wider than this part of it is not printed as a figure.
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

/// The median of what pairs of the same round give, and the range it is trusted to lie in: the 95 % interval by ranks, widened to
/// hold the medians of the first and the second half, so that a drift during the run shows.
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
    /// Each of `these` over the one of `those` from the same round.
    pub fn ratio(these: &[f64], those: &[f64]) -> Option<Pairs> {
        Pairs::of(these.iter().zip(those).map(|(a, b)| a / b).collect())
    }

    /// Each of `these` less the one of `those` from the same round.
    pub fn difference(these: &[f64], those: &[f64]) -> Option<Pairs> {
        Pairs::of(these.iter().zip(those).map(|(a, b)| a - b).collect())
    }

    fn of(values: Vec<f64>) -> Option<Pairs> {
        const FEWEST: usize = 8;
        if values.len() < FEWEST {
            return None;
        }
        let halves = values.split_at(values.len() / 2);
        let halves = [Summary::of(halves.0)?.p50, Summary::of(halves.1)?.p50];
        let values = sorted(values);
        let (count, last) = (values.len() as f64, values.len() - 1);
        let reach = 0.98 * count.sqrt();
        let low = values[((count / 2.0 - reach).floor().max(0.0) as usize).min(last)];
        let high = values[((count / 2.0 + reach).ceil() as usize).min(last)];
        Some(Pairs {
            middle: values[last / 2],
            low: low.min(halves[0]).min(halves[1]),
            high: high.max(halves[0]).max(halves[1]),
        })
    }

    /// Too uncertain to be a figure, next to a `size` that it is a part of.
    pub fn is_noisy(&self, size: f64) -> bool {
        (self.high - self.low) / size > NOISY
    }
}
