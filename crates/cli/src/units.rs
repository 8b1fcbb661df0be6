//! Sizes for people.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(bytes(8 << 20), "8 MiB");
        assert_eq!(bytes(1025), "1025");
        assert_eq!([8 << 20, 1025].map(flag), ["8M", "1025"]);
    }
}
