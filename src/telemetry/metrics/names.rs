//! Names that label counts, each with a number that it keeps.

use std::collections::HashMap;

/// The number under which a bot is counted; 0 where a call is of none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bot(pub(super) u32);

/// The number under which a route is counted; 0 where a call found none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Route(pub(super) u32);

/// The bots of one configuration, by the number that it has for them.
#[derive(Debug, Default)]
pub struct Bots(Vec<Bot>);

impl Bots {
    pub(super) fn of(bots: impl Iterator<Item = (u32, Bot)>) -> Self {
        let mut all = Vec::new();
        for (number, bot) in bots {
            let at = usize::try_from(number).unwrap_or(0);
            if all.len() <= at {
                all.resize(at + 1, Bot::default());
            }
            all[at] = bot;
        }
        Self(all)
    }

    /// That of the bot of this number.
    pub fn at(&self, number: u32) -> Bot {
        usize::try_from(number).ok().and_then(|at| self.0.get(at)).copied().unwrap_or_default()
    }
}

/// All names of one kind that any configuration gave, in the order in which they came. The first is that of nothing.
#[derive(Clone, Debug)]
pub(super) struct Names {
    texts: Vec<(String, bool)>,
    numbers: HashMap<String, u32>,
}

impl Default for Names {
    fn default() -> Self {
        Self { texts: vec![(String::new(), false)], numbers: HashMap::new() }
    }
}

impl Names {
    /// The number of `name`, which it keeps; `opens` is kept with it.
    pub(super) fn number(&mut self, name: &str, opens: bool) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let Ok(number) = u32::try_from(self.texts.len()) else { return 0 };
        self.texts.push((name.to_owned(), opens));
        self.numbers.insert(name.to_owned(), number);
        number
    }

    /// The number of a name that has one.
    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The name of this number.
    pub(super) fn text(&self, number: u32) -> &str {
        self.entry(number).map_or("", |(text, _)| text)
    }

    /// Whether what has this number opens sessions.
    pub(super) fn opens(&self, number: u32) -> bool {
        self.entry(number).is_some_and(|(_, opens)| *opens)
    }

    fn entry(&self, number: u32) -> Option<&(String, bool)> {
        usize::try_from(number).ok().and_then(|at| self.texts.get(at))
    }
}
