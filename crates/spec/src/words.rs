//! Words as people write them: sizes, durations, and the nearest to one that was mistyped.

use std::time::Duration;

use beget::Loader;

/// Bytes: a whole number, with `K`, `M`, `G` or `T` for powers of 1024, and `B` or `iB` after that as one likes.
///
/// # Errors
/// A sentence, when it is none or above `u64::MAX`.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text} is no size; write 512M, 2G or a number of bytes");
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.trim_start();
    let shift = match unit.strip_suffix("iB").or(unit.strip_suffix('B')).unwrap_or(unit) {
        "" => 0,
        "K" | "k" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// A duration: a number, which may have a fraction, with `ms`, `s` (the default), `m`, `h` or `d`.
///
/// # Errors
/// A sentence, when it is none or too long for a [`Duration`].
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text} is no duration; write 90s, 5m, 1.5h or a number of seconds");
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())
}

/// Who puts a program into memory: `kernel` or `direct`.
///
/// # Errors
/// A sentence, when it is another word.
pub fn loader(text: &str) -> Result<Loader, String> {
    match text {
        "kernel" => Ok(Loader::Kernel),
        "direct" => Ok(Loader::Direct),
        _ => Err("wants kernel or direct".into()),
    }
}

/// How many letters must change to make one word the other (Levenshtein).
#[must_use]
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("512M"), Ok(512 << 20));
        assert_eq!(size("2GiB"), Ok(2 << 30));
        assert_eq!(size("7 kB"), Ok(7 << 10));
        for wrong in ["", "M", "-1", "1.5G", "1X", "99999999999T"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "s", "-1s", "1y", "1e3", "..", "1.7.2s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn distances() {
        assert_eq!(distance("raed", "read"), 2);
        assert_eq!(distance("", "read"), 4);
        assert_eq!(distance("write", "write"), 0);
    }
}
