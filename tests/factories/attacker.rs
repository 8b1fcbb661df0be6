//! `product-attacker`: attacks the factory that it is a constituent of.
//!
//! ```text
//! product-attacker before NAME [FOLDER]   does NAME, then is ready (it stops itself); a copy writes `product` and ends
//! product-attacker list                   says what NAME may be
//! product-attacker inside [stop]          is ready at once; a copy reads `NAME=VALUE` lines, tries everything, and writes what it got
//! ```
//!
//! What a copy got is one line for each attempt: `NAME: ` and `closed ERRNO` or `OPEN`.

#[path = "attacker/before.rs"]
mod before;
#[path = "attacker/inside.rs"]
mod inside;

pub fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// A raw call: what it gives, or its error.
pub fn raw(number: libc::c_long, arguments: &[usize]) -> Result<usize, i32> {
    let word = |index: usize| arguments.get(index).copied().unwrap_or(0);
    // SAFETY: every pointer is to memory that outlives the call or is meant to be refused; what changes memory is the attack.
    let answer = unsafe { libc::syscall(number, word(0), word(1), word(2), word(3), word(4), word(5)) };
    if answer < 0 { Err(errno()) } else { Ok(answer as usize) }
}

/// The same with arguments of any kind.
macro_rules! call {
    ($number:expr $(, $argument:expr)*) => {{
        let got: Result<usize, i32> = crate::raw($number as libc::c_long, &[$($argument as usize),*]);
        got
    }};
}
pub(crate) use call;

/// Is ready.
pub fn ready() {
    // SAFETY: a plain call.
    unsafe { libc::raise(libc::SIGSTOP) };
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["before", name, ref rest @ ..] => {
            before::attack(name, rest.first().copied().unwrap_or("/nonexistent"));
            println!("product");
        }
        ["list"] => {
            for (name, _) in before::NAMES {
                println!("{name}");
            }
        }
        ["inside", "stop"] => {
            ready();
            inside::attack();
        }
        ["inside", ..] => inside::attack(),
        _ => panic!("before NAME, or inside"),
    }
}
