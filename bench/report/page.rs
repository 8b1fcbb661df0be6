//! A page for a browser: one file, with its plots, its style and nothing from elsewhere; legible on a phone and on a wide screen, light and
//! dark.
//!
//! Safety idea: whatever is put in is text and is escaped; there is no way to put markup in from outside of this folder.

use std::fmt::Write;

use super::plot::Plot;

const STYLE: &str = include_str!("page.css");
/// Where the narrow drawing of a plot gives way to the wide one is said in the style.
const NARROW: u32 = 340;
const WIDE: u32 = 720;

/// A page: a title, what it is about, and sections.
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    about: String,
    sections: Vec<Section>,
    end: String,
}

/// A part of a page, under a heading of its own.
#[derive(Clone, Debug)]
pub struct Section {
    title: String,
    blocks: Vec<Block>,
}

#[derive(Clone, Debug)]
enum Block {
    Prose(String),
    Heading(String),
    List(Vec<String>),
    Steps(Vec<String>),
    Folded(String, Vec<String>),
    Command(String),
    Table(Grid),
    Plot(Plot),
}

/// What a cell has to say beside its words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// Not to be relied on, or not there.
    Faint,
}

/// Words in a table, and their tone.
#[derive(Clone, Debug, Default)]
pub struct Words {
    text: String,
    tone: Tone,
}

/// A table whose first column names its rows. On a phone each row is a card.
#[derive(Clone, Debug)]
pub struct Grid {
    caption: String,
    columns: Vec<String>,
    rows: Vec<Vec<Words>>,
    notes: Vec<String>,
}

impl Words {
    /// Words with a tone.
    pub fn new(text: impl Into<String>, tone: Tone) -> Words {
        Words { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Words {
    fn from(text: T) -> Words {
        Words::new(text, Tone::Plain)
    }
}

impl Grid {
    /// An empty one; the first of the columns heads the names of the rows.
    pub fn new<C: Into<String>>(caption: impl Into<String>, columns: impl IntoIterator<Item = C>) -> Grid {
        let columns = columns.into_iter().map(Into::into).collect();
        Grid { caption: caption.into(), columns, rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a row: its name, and a cell for each further column. What is too much is left out, what is missing is empty.
    pub fn row<W: Into<Words>>(&mut self, cells: impl IntoIterator<Item = W>) {
        let mut cells: Vec<Words> = cells.into_iter().map(Into::into).collect();
        cells.resize(self.columns.len(), Words::default());
        self.rows.push(cells);
    }

    /// Adds words below it.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    fn html(&self, page: &mut String) {
        page.push_str("<div class=\"table\">\n<table role=\"table\">\n");
        if !self.caption.is_empty() {
            let _ = writeln!(page, "<caption>{}</caption>", escaped(&self.caption));
        }
        page.push_str("<thead role=\"rowgroup\"><tr role=\"row\">");
        for column in &self.columns {
            let _ = write!(page, "<th role=\"columnheader\" scope=\"col\">{}</th>", escaped(column));
        }
        page.push_str("</tr></thead>\n<tbody role=\"rowgroup\">\n");
        for row in &self.rows {
            page.push_str("<tr role=\"row\">");
            for (index, (cell, column)) in row.iter().zip(&self.columns).enumerate() {
                let (text, class) = (escaped(&cell.text), cell.tone.class());
                let _ = if index == 0 {
                    write!(page, "<th role=\"rowheader\" scope=\"row\"{class}>{text}</th>")
                } else {
                    let text = unbroken(&text);
                    write!(page, "<td role=\"cell\" data-column=\"{}\"{class}>{text}</td>", escaped(column))
                };
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</tbody>\n</table>\n</div>\n");
        list(page, "ul", &self.notes, "notes");
    }
}

/// Keeps a range in brackets, at the end of what is escaped already, in one line.
fn unbroken(text: &str) -> String {
    match text.split_once(" (") {
        Some((before, range)) if range.ends_with(')') => {
            format!("{before} <span class=\"range\">({range}</span>")
        }
        _ => text.to_owned(),
    }
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Tone::Plain => "",
            Tone::Good => " class=\"good\"",
            Tone::Bad => " class=\"bad\"",
            Tone::Faint => " class=\"faint\"",
        }
    }
}

impl Section {
    /// Adds a paragraph.
    pub fn prose(&mut self, text: impl Into<String>) -> &mut Section {
        self.add(Block::Prose(text.into()))
    }

    /// Adds a heading below that of the section.
    pub fn heading(&mut self, text: impl Into<String>) -> &mut Section {
        self.add(Block::Heading(text.into()))
    }

    /// Adds a list whose order counts; its items are numbered.
    pub fn steps<T: Into<String>>(&mut self, items: impl IntoIterator<Item = T>) -> &mut Section {
        self.add(Block::Steps(items.into_iter().map(Into::into).collect()))
    }

    /// Adds a list of which a reader sees `summary` until he asks for more.
    pub fn folded(&mut self, summary: impl Into<String>, items: Vec<String>) -> &mut Section {
        self.add(Block::Folded(summary.into(), items))
    }

    /// Adds a list.
    pub fn list<T: Into<String>>(&mut self, items: impl IntoIterator<Item = T>) -> &mut Section {
        self.add(Block::List(items.into_iter().map(Into::into).collect()))
    }

    /// Adds a command line as it is typed, or other text that is shown letter by letter.
    pub fn command(&mut self, text: impl Into<String>) -> &mut Section {
        self.add(Block::Command(text.into()))
    }

    /// Adds a table.
    pub fn table(&mut self, table: Grid) -> &mut Section {
        self.add(Block::Table(table))
    }

    /// Adds a plot.
    pub fn plot(&mut self, plot: Plot) -> &mut Section {
        self.add(Block::Plot(plot))
    }

    fn add(&mut self, block: Block) -> &mut Section {
        self.blocks.push(block);
        self
    }

    fn html(&self, number: usize, page: &mut String) {
        let _ = writeln!(page, "<section id=\"s{number}\">\n<h2>{}</h2>", escaped(&self.title));
        for block in &self.blocks {
            match block {
                Block::Prose(text) => _ = writeln!(page, "<p>{}</p>", escaped(text)),
                Block::Heading(text) => _ = writeln!(page, "<h3>{}</h3>", escaped(text)),
                Block::List(items) => list(page, "ul", items, "list"),
                Block::Steps(items) => list(page, "ol", items, "steps"),
                Block::Folded(summary, items) => {
                    let _ = writeln!(page, "<details>\n<summary>{}</summary>", escaped(summary));
                    list(page, "ul", items, "list");
                    page.push_str("</details>\n");
                }
                Block::Command(text) => _ = writeln!(page, "<pre>{}</pre>", escaped(text)),
                Block::Table(table) => table.html(page),
                Block::Plot(plot) => {
                    let _ = writeln!(
                        page,
                        "<figure>\n<figcaption>{}</figcaption>\n<div class=\"narrow\">{}</div>\n<div class=\"wide\">{}</div>\n</figure>",
                        escaped(plot.title()),
                        plot.svg(NARROW),
                        plot.svg(WIDE)
                    );
                }
            }
        }
        page.push_str("</section>\n");
    }
}

fn list(page: &mut String, element: &str, items: &[String], class: &str) {
    if !items.is_empty() {
        let items: String = items.iter().map(|item| format!("<li>{}</li>\n", escaped(item))).collect();
        let _ = writeln!(page, "<{element} class=\"{class}\">\n{items}</{element}>");
    }
}

impl Page {
    /// An empty one.
    pub fn new(title: impl Into<String>, about: impl Into<String>) -> Page {
        Page { title: title.into(), about: about.into(), sections: Vec::new(), end: String::new() }
    }

    /// Begins a section; what is added to it comes below its heading.
    pub fn section(&mut self, title: impl Into<String>) -> &mut Section {
        self.sections.push(Section { title: title.into(), blocks: Vec::new() });
        self.sections.last_mut().expect("one was just added")
    }

    /// What stands at the end: what wrote the page, and where.
    pub fn end(&mut self, text: impl Into<String>) {
        self.end = text.into();
    }

    /// The whole file.
    #[must_use]
    pub fn html(&self) -> String {
        let (title, about) = (escaped(&self.title), escaped(&self.about));
        let mut page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, \
             initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
             </head>\n<body>\n<header>\n<h1>{title}</h1>\n<p>{about}</p>\n</header>\n"
        );
        if self.sections.len() > 2 {
            page.push_str("<nav aria-label=\"contents\">\n");
            for (number, section) in self.sections.iter().enumerate() {
                let _ = writeln!(page, "<a href=\"#s{number}\">{}</a>", escaped(&section.title));
            }
            page.push_str("</nav>\n");
        }
        page.push_str("<main>\n");
        for (number, section) in self.sections.iter().enumerate() {
            section.html(number, &mut page);
        }
        page.push_str("</main>\n");
        if !self.end.is_empty() {
            let _ = writeln!(page, "<footer><p>{}</p></footer>", escaped(&self.end));
        }
        page.push_str("</body>\n</html>\n");
        page
    }
}

/// Text that means nothing to a browser but itself.
pub(super) fn escaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => plain.push_str("&amp;"),
            '<' => plain.push_str("&lt;"),
            '>' => plain.push_str("&gt;"),
            '"' => plain.push_str("&quot;"),
            '\'' => plain.push_str("&#39;"),
            '\n' | '\t' => plain.push(letter),
            letter if letter.is_control() => plain.push('\u{fffd}'),
            letter => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever words are put in, wherever: none of them becomes markup.
    #[test]
    fn everything_is_escaped() {
        const EVIL: &str = "</style><script src=x onload='y'>\"&\0";
        let mut page = Page::new(EVIL, EVIL);
        let mut grid = Grid::new(EVIL, [EVIL, EVIL]);
        grid.row([EVIL, EVIL]);
        grid.note(EVIL);
        let mut plot = Plot::new(EVIL, EVIL);
        plot.bar(EVIL, 1.0, EVIL).mark(0.5, EVIL);
        let section = page.section(EVIL).prose(EVIL).heading(EVIL).list([EVIL]).steps([EVIL]);
        section.folded(EVIL, vec![EVIL.to_owned()]).command(EVIL).table(grid).plot(plot);
        page.section("a").prose("b");
        page.section("c").prose("d");
        page.end(EVIL);
        let html = page.html();
        assert!(!html.contains("<script") && !html.contains('\0') && html.matches("</style>").count() == 1);
        assert_eq!(html.matches("onload=&#39;y&#39;").count(), html.matches("onload").count());
    }

    /// What is opened is closed, in its order.
    #[test]
    fn elements_are_closed() {
        let mut page = Page::new("t", "a");
        let mut grid = Grid::new("c", ["a", "b"]);
        grid.row(["x"]);
        let mut plot = Plot::new("p", "us");
        plot.range("x", [1.0, 0.5, 2.0], "1").bar("y", 3.0, "3");
        let section = page.section("s").prose("p").heading("h").list(["l"]).steps(["o"]);
        section.folded("f", vec!["d".to_owned()]).command("c").table(grid).plot(plot);
        let html = page.html();
        let mut open: Vec<&str> = Vec::new();
        for tag in html.split('<').skip(2).filter_map(|rest| rest.split('>').next()) {
            let name = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap_or("");
            match (tag.starts_with('/'), tag.ends_with('/') || name == "meta") {
                (true, _) => assert_eq!(open.pop(), Some(name), "{tag}"),
                (false, true) => {}
                (false, false) => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}
