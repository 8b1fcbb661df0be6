//! Rounds in which everybody runs once, in an order that changes, until the time is over.

use std::time::{Duration, Instant};

use super::run;

type Work<'a> = Box<dyn FnMut() -> Result<Vec<f64>, String> + 'a>;

/// One that takes part.
pub struct Entry<'a> {
    name: String,
    work: Work<'a>,
}

impl<'a> Entry<'a> {
    /// `work` does the thing once and gives one number for each measure.
    pub fn new(name: impl Into<String>, work: impl FnMut() -> Result<Vec<f64>, String> + 'a) -> Entry<'a> {
        Entry { name: name.into(), work: Box::new(work) }
    }

    /// Does it once. Who is slowed down on purpose waits in his turn, and the time is his.
    fn turn(&mut self) -> Result<Vec<f64>, String> {
        let delay = run::delay(&self.name);
        let mut values = (self.work)()?;
        values.first_mut().into_iter().for_each(|wall| *wall += delay);
        Ok(values)
    }
}

/// What one entry gave.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Numbers by measure, then by round.
    pub measures: Vec<Vec<f64>>,
    /// Why there are none.
    pub skipped: Option<String>,
}

impl Series {
    /// The numbers of one measure.
    pub fn measure(&self, index: usize) -> &[f64] {
        self.measures.get(index).map_or(&[], Vec::as_slice)
    }

    fn take(&mut self, outcome: Result<Vec<f64>, String>) {
        match outcome {
            Ok(values) => {
                self.measures.resize(values.len(), Vec::new());
                for (measure, value) in self.measures.iter_mut().zip(values) {
                    measure.push(value);
                }
            }
            Err(why) => {
                self.measures.clear();
                self.skipped = Some(why);
            }
        }
    }
}

/// Orders that differ from round to round, the same in every run.
struct Shuffle(u64);

impl Shuffle {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn shuffle(&mut self, order: &mut [usize]) {
        for last in (1..order.len()).rev() {
            order.swap(last, self.below(last + 1));
        }
    }
}

/// Runs the entries in rounds for about `seconds`, less where a run has several passes; then what the earlier ones gave is in what is returned. One that fails is out, with its reason; the others go on.
pub fn race(title: &str, seconds: f64, entries: Vec<Entry<'_>>) -> Vec<Series> {
    const MOST_ROUNDS: usize = 4000;
    const WARM_UP: usize = 20;
    const FEWEST: usize = 10;
    let seconds = Duration::from_secs_f64(run::part(seconds));
    run::show(title);
    let mut series: Vec<Series> = entries
        .iter()
        .map(|entry| Series { name: entry.name.clone(), measures: Vec::new(), skipped: None })
        .collect();
    let mut entries = entries;
    let mut order: Vec<usize> = (0..entries.len()).collect();
    let mut shuffle = Shuffle(1);
    let begin = Instant::now();
    for _ in 0..WARM_UP {
        for index in 0..entries.len() {
            if series[index].skipped.is_none()
                && let Err(why) = (entries[index].work)()
            {
                series[index].skipped = Some(why);
            }
        }
        if begin.elapsed() > seconds / 8 {
            break;
        }
    }
    for round in 0..MOST_ROUNDS {
        // Slow entries still get a few rounds, but never more than three times their time.
        if (round >= FEWEST && begin.elapsed() > seconds) || begin.elapsed() > seconds * 3 {
            break;
        }
        shuffle.shuffle(&mut order);
        for index in &order {
            if series[*index].skipped.is_none() {
                let outcome = entries[*index].turn();
                series[*index].take(outcome);
            }
        }
    }
    run::shown();
    run::with_earlier(title, series)
}
