//! An embryo: an empty process, to which P does operation by operation what C is to be, and which it then starts.

use std::os::fd::AsFd;

use beget::{Construct, Nursery, Program};

use super::{Born, Given, Way, told};

struct Embryo {
    nursery: Nursery,
    image: Program,
}

impl Way for Embryo {
    fn start(&mut self, given: &Given<'_>) -> Result<Born, String> {
        let mut embryo = self.nursery.embryo().map_err(told)?;
        if !given.forget {
            embryo.grant(0, given.holdings.a.as_fd()).map_err(told)?;
        }
        let (out, null) = (given.out()?, given.null()?);
        embryo.grant(1, out.as_fd()).and_then(|()| embryo.grant(2, null.as_fd())).map_err(told)?;
        let name = given.program.as_os_str().to_owned();
        let words: Vec<_> = std::iter::once(name).chain(given.words()).collect();
        embryo.load(&self.image, &words).map_err(told)?;
        embryo.confine(&[]).map_err(told)?;
        Ok(Born::Ours(vec![embryo.start().map_err(told)?]))
    }
}

/// Its nursery, and the image that it is to have.
pub(super) fn embryo(given: &Given<'_>) -> Result<Box<dyn Way>, String> {
    let nursery = Nursery::shared().map_err(told)?;
    let image = Program::open(given.program).map_err(told)?;
    Ok(Box::new(Embryo { nursery, image }))
}
