//! What C is told, as the words it is started with.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// What C is to do, and where it may look for B: all that an attacker could know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// It looks about and reports; otherwise it reads A and ends.
    pub(super) look: bool,
    /// P's process number.
    pub(super) parent: u32,
    /// The number of B's descriptor in P.
    pub(super) number: i32,
    /// B's path.
    pub(super) path: PathBuf,
    /// Where in P's memory it stands what B says.
    pub(super) at: u64,
}

impl Order {
    /// The words after the program's name.
    pub(super) fn words(&self) -> Vec<OsString> {
        let [look, parent, number, at] = [
            if self.look { "look" } else { "read" }.to_owned(),
            self.parent.to_string(),
            self.number.to_string(),
            self.at.to_string(),
        ];
        let path = self.path.clone().into_os_string();
        vec![super::CHILD.into(), look.into(), parent.into(), number.into(), at.into(), path]
    }

    /// Reads what [`words`](Order::words) has written, without its first word.
    pub(super) fn read(words: &[OsString]) -> Option<Order> {
        let [look, parent, number, at, path] = words else { return None };
        let look = match look.to_str()? {
            "look" => true,
            "read" => false,
            _ => return None,
        };
        Some(Order {
            look,
            parent: parent.to_str()?.parse().ok()?,
            number: number.to_str()?.parse().ok()?,
            at: at.to_str()?.parse().ok()?,
            path: PathBuf::from(<OsString as AsRef<OsStr>>::as_ref(path)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_comes_through_the_words() {
        let order = Order { look: true, parent: 7, number: 4, path: "/a b/\u{e9}".into(), at: u64::MAX };
        assert_eq!(Order::read(&order.words()[1..]), Some(order.clone()));
        assert_eq!(Order::read(&order.words()), None);
        let mut wrong = order.words();
        wrong[1] = "sing".into();
        assert_eq!(Order::read(&wrong[1..]), None);
    }
}
