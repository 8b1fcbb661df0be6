//! Wall time, and processor time of this process and of the children it has reaped.

use std::time::Instant;

/// Microseconds since some moment before the first call.
pub fn now() -> f64 {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as f64 / 1e3
}

/// Microseconds of processor time, user and system together: the sum is exact even where the kernel only guesses the two parts.
pub fn processor_time() -> f64 {
    let of = |who| {
        // SAFETY: all zeroes is a value of this plain structure.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel fills a live structure.
        unsafe { libc::getrusage(who, &raw mut usage) };
        let time = |time: libc::timeval| time.tv_sec as f64 * 1e6 + time.tv_usec as f64;
        time(usage.ru_utime) + time(usage.ru_stime)
    };
    of(libc::RUSAGE_SELF) + of(libc::RUSAGE_CHILDREN)
}

/// Wall and processor time of `work`, in microseconds.
pub fn timed(work: impl FnOnce() -> Result<(), String>) -> Result<Vec<f64>, String> {
    let processor = processor_time();
    let begin = now();
    work()?;
    let wall = now() - begin;
    Ok(vec![wall, processor_time() - processor])
}
