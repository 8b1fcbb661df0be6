//! Sizes and times for people, and times for programs.

/// Bytes in the largest unit that is exact.
pub(crate) fn bytes(count: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if count >= 1 << shift && count.is_multiple_of(1 << shift) {
            return format!("{} {unit}", count >> shift);
        }
    }
    count.to_string()
}

/// The same, as a flag takes it.
pub(crate) fn flag(count: u64) -> String {
    bytes(count).replace(" ", "").replace("iB", "")
}

/// Bytes in at most five letters, rounded: `17`, `9.5K`, `12M`.
pub(crate) fn short(count: u64) -> String {
    let mut unit = 0;
    while unit < 6 && count >> (10 * unit) >= 1024 {
        unit += 1;
    }
    if unit == 0 {
        return count.to_string();
    }
    let tenths = (u128::from(count) * 10) >> (10 * unit);
    let letter = ["", "K", "M", "G", "T", "P", "E"][unit];
    if tenths < 100 {
        format!("{}.{}{letter}", tenths / 10, tenths % 10)
    } else {
        format!("{}{letter}", tenths / 10)
    }
}

/// A time between two moments, in its two largest units: `4d7h`, `3m5s`, `0s`.
pub(crate) fn age(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let parts =
        [(seconds / 86400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    parts[first..].iter().take(2).map(|(count, unit)| format!("{count}{unit}")).collect()
}

/// A moment, in milliseconds since 1970, as RFC 3339 has it.
pub(crate) fn moment(milliseconds: u64) -> String {
    let (days, rest) = (milliseconds / 86_400_000, milliseconds % 86_400_000);
    // Days are counted in years that begin in March, so that the leap day is the last (Howard Hinnant, "chrono-Compatible Low-Level Date
    // Algorithms").
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", rest % 1000)
}

/// Now, in milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_few_letters() {
        let cases = [(0, "0"), (1023, "1023"), (1024, "1.0K"), (10 << 20, "10M"), ((10 << 20) - 1, "9.9M")];
        for (count, words) in cases {
            assert_eq!(short(count), words);
        }
        assert_eq!(short(u64::MAX), "15E");
    }

    #[test]
    fn ages() {
        for (seconds, words) in [(0, "0s"), (65, "1m5s"), (3600, "1h0m"), (86_400 * 4 + 7 * 3600 + 5, "4d7h")]
        {
            assert_eq!(age(seconds * 1000 + 999), words);
        }
    }

    #[test]
    fn moments() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_740_744_123, "2026-11-27T00:52:24.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (moment_of, words) in cases {
            assert_eq!(moment(moment_of), words);
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes(8 << 20), "8 MiB");
        assert_eq!(bytes(1025), "1025");
        assert_eq!([8 << 20, 1025].map(flag), ["8M", "1025"]);
    }
}
