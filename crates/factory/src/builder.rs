//! The builder's side of a factory: constituents are inserted and judged, then it is sealed.
//!
//! Safety idea: what is judged is what is given: everything is opened here, once, and after the seal there is nobody left who could insert.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use beget::Command;

use crate::adapter::Adapter;
use crate::judge::{self, Confinement, Constituent, Holes, Inventory, Surroundings};
use crate::options::Options;
use crate::saved::Image;
use crate::{Error, Factory, Fault, Result};

/// The right to build one factory. Sealing it gives that right up, for ever; what comes of it is the right to request.
#[derive(Debug)]
pub struct Builder {
    command: Command,
    options: Options,
    adapter: Option<Arc<dyn Adapter>>,
    inventory: Inventory,
    image: Option<Image>,
}

impl Builder {
    pub(crate) fn new(mut command: Command) -> Builder {
        command.discreet(true);
        Builder {
            command,
            options: Options::default(),
            adapter: None,
            inventory: Inventory::new(),
            image: None,
        }
    }

    /// Inserts a constituent: every product has it in the slot of this name. Says what it is judged to be.
    ///
    /// # Errors
    /// A descriptor that cannot be looked at.
    pub fn insert(&mut self, name: &str, file: impl Into<OwnedFd>) -> Result<Constituent> {
        let file = file.into();
        let judged = self.inventory.insert(name, file.as_fd())?.clone();
        // Whoever holds what was given could change what it looks like.
        self.command.slot(name, judge::own(name, file.as_fd())?);
        Ok(judged)
    }

    /// Inserts the right to ask another factory for products, which every product has in the slot of this name: it counts as the holes of that
    /// factory do, and besides as what `file` is. One connection for all products is a hole, however genuine and confined what answers there: one
    /// product takes the answer that another asked for, and the factory tells how many products it made.
    ///
    /// # Errors
    /// A factory that is not sealed counts as a hole and is no error; one that is itself past inserting is.
    pub fn insert_factory(
        &mut self,
        name: &str,
        factory: &impl Holes,
        file: impl Into<OwnedFd>,
    ) -> Result<()> {
        self.inventory.insert_factory(name, factory)?;
        self.command.slot(name, file);
        Ok(())
    }

    /// How products are made.
    pub fn options(&mut self, options: Options) -> &mut Builder {
        let ready = self.options.ready.take().filter(|_| self.image.is_some());
        self.options = options;
        if ready.is_some() {
            self.options.ready = ready;
        }
        self
    }

    /// Has the program be a runtime that an adapter speaks to: products are given jobs instead of arguments.
    pub fn adapter(&mut self, adapter: impl Adapter + 'static) -> &mut Builder {
        self.adapter = Some(Arc::new(adapter));
        self
    }

    /// Has templates made from a saved image ([`Factory::save`]) instead of starting the program, which must be the image's; they are ready
    /// where that was. The image is a constituent, measured as any.
    ///
    /// # Errors
    /// An image that says nothing of where it is ready, or cannot be looked at.
    pub fn image(&mut self, image: Image) -> Result<&mut Builder> {
        self.options.ready = Some(image.info().ready.parse()?);
        self.inventory.insert("saved image", image.as_fd())?;
        self.image = Some(image);
        Ok(self)
    }

    /// Whether an image's program is spoken to as it was when it was saved.
    fn check_image(&self) -> Result<()> {
        let Some(image) = &self.image else { return Ok(()) };
        let (saved, given) = (image.info().adapter, self.adapter.as_ref().map(|adapter| adapter.name()));
        let words = match (saved.as_deref(), given) {
            (saved, given) if saved == given => return Ok(()),
            (Some(saved), _) => {
                format!("its program is told jobs by the adapter for {saved}, and by no other way")
            }
            (None, given) => {
                format!("its program is told no jobs by an adapter for {}", given.unwrap_or_default())
            }
        };
        Err(Error::new("factory: image", words, Fault::Caller))
    }

    /// What its products would reach, as far as it was inserted here. Nobody's are confined as long as something can be inserted.
    #[must_use]
    pub fn confinement(&self) -> Confinement {
        self.inventory.confinement()
    }

    /// Seals it: everything is opened and judged, files are measured, and for a warm factory the first template is made. Nothing can be inserted any
    /// more. Granted folders are looked through, from what was opened here, when somebody first asks what products reach.
    ///
    /// # Errors
    /// Options that contradict each other; an image of a program that was spoken to by another adapter, or by one where this has none; a grant or
    /// program that cannot be opened or measured; a program that does not get ready, or cannot be
    /// copied truly, with all reasons.
    pub fn seal(mut self) -> Result<Factory> {
        self.options.check(self.adapter.is_some(), self.image.is_some())?;
        self.check_image()?;
        if let Some(adapter) = &self.adapter {
            adapter.prepare(&mut self.command)?;
            self.options.ready = Some(adapter.ready());
        }
        // First opened, then judged: what was judged is what every product has, whatever its names come to mean.
        let sealed = self.command.seal()?.renewed_by(judge::for_product);
        let shares_root = self.options.ready.is_some() && sealed.command().has_root();
        let around = Surroundings { shares_root, own_channel: true };
        self.inventory.seal(&sealed, around)?;
        Factory::begin(sealed, self.options, self.adapter, self.inventory, self.image)
    }
}
