//! The simulated vendors of the demo: one thread for all of them, a port and a throw-away key for each.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::vendor::aichatbothub::{self, AiChatbotHub};
use super::vendor::chatbotkit::{self, ChatBotKit};
use super::vendor::directline::{self, DirectLine};
use super::vendor::genesys::{self, Genesys};
use super::vendor::hottask::{self, HotTask};
use super::vendor::openai::{self, OpenAi};
use super::vendor::superseek::{self, Superseek};
use crate::clock::Clock;
use crate::id::Entropy;
use crate::secret::Secret;

/// Between two words of a simulated answer: slow enough to see that it streams.
const PACE: Duration = Duration::from_millis(40);
/// The header in which the simulated Genesys wants its key.
const GENESYS_KEY: &str = "X-Knowledge-Key";

/// A vendor at work, and the demo's bot of it, which has the profile's name.
pub(super) struct Simulated {
    /// The name of its profile, of the vendor and of its bot in the demo's configuration.
    pub(super) name: &'static str,
    /// The vendor's own id of the bot.
    pub(super) bot: &'static str,
    /// More lines for the vendor's table.
    pub(super) more: String,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Its key.
    pub(super) key: Secret,
}

impl Simulated {
    /// The variable that holds its key.
    pub(super) fn variable(&self) -> String {
        format!("DEMO_{}_KEY", self.name.to_ascii_uppercase())
    }
}

type Work = Box<dyn FnOnce(TcpListener) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// What serves one vendor.
fn work<V, F>(vendor: Arc<V>, serve: fn(Arc<V>, TcpListener) -> F) -> Work
where
    V: Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    Box::new(move |listener| Box::pin(serve(vendor, listener)))
}

/// The names of the demo's bots and their vendors'.
pub(super) const BOTS: &[(&str, &str)] = &[
    ("chatbotkit", "ChatBotKit"),
    ("superseek", "Superseek"),
    ("aichatbothub", "AI Chatbot Hub"),
    ("hottask", "HotTask"),
    ("genesys", "Genesys Knowledge Center"),
    ("openai", "OpenAI"),
    ("directline", "Azure Direct Line"),
];

/// Starts all of them.
pub(super) fn start(entropy: &Entropy) -> io::Result<Vec<Simulated>> {
    let mut simulated = Vec::new();
    let mut all = Vec::new();
    for (name, _) in BOTS.iter().copied() {
        let key = Secret::new(format!("sk-demo-{}", entropy.token_id()));
        let Some((bot, more, work)) = vendor(name, key.clone(), entropy) else { continue };
        let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        simulated.push(Simulated { name, bot, more, address: socket.local_addr()?, key });
        all.push((work, socket));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serve = move || runtime.block_on(serve(all));
    std::thread::Builder::new().name("vendors".to_owned()).spawn(serve)?;
    Ok(simulated)
}

async fn serve(all: Vec<(Work, std::net::TcpListener)>) {
    let mut vendors = JoinSet::new();
    for (work, socket) in all {
        match TcpListener::from_std(socket) {
            Ok(listener) => {
                vendors.spawn(work(listener));
            }
            Err(error) => tracing::error!(%error, "a simulated vendor cannot accept connections"),
        }
    }
    while vendors.join_next().await.is_some() {}
}

/// The vendor of this name: its id of the demo's bot, more lines for its table, and what serves it.
fn vendor(name: &str, key: Secret, entropy: &Entropy) -> Option<(&'static str, String, Work)> {
    let (clock, entropy, pace) = (Clock::system(), entropy.clone(), PACE);
    let bots = |bot: &str| vec![bot.to_owned()];
    let none = String::new();
    Some(match name {
        "chatbotkit" => {
            let settings = chatbotkit::Settings { key, bots: bots("chatbotkit"), pace };
            ("chatbotkit", none, work(ChatBotKit::new(settings, clock, entropy), ChatBotKit::serve))
        }
        "superseek" => {
            let settings = superseek::Settings { key, bots: bots("1234") };
            ("1234", none, work(Superseek::new(settings, entropy), Superseek::serve))
        }
        "aichatbothub" => {
            const BOT: &str = "3f0b5a1e-6a52-4a53-9d6c-0f7d9a4c2b11";
            let settings = aichatbothub::Settings { key, bots: bots(BOT), pace };
            (BOT, none, work(AiChatbotHub::new(settings, clock, entropy), AiChatbotHub::serve))
        }
        "hottask" => {
            let settings = hottask::Settings { key, bots: bots("SN-2024-0001"), pace };
            ("SN-2024-0001", none, work(HotTask::new(settings), HotTask::serve))
        }
        "genesys" => {
            let options = format!("options = {{ key_header = \"{GENESYS_KEY}\", tenant = \"demo\" }}");
            let (key_header, tenant) = (GENESYS_KEY.to_owned(), Some("demo".to_owned()));
            let settings = genesys::Settings { key_header, key, tenant };
            ("knowledge", options, work(Genesys::new(settings, clock, entropy), Genesys::serve))
        }
        "openai" => {
            let settings = openai::Settings { key, models: bots("gpt-4o-mini"), pace };
            ("gpt-4o-mini", none, work(OpenAi::new(settings, clock, entropy), OpenAi::serve))
        }
        "directline" => {
            let settings = directline::Settings { key, pace };
            ("helpdesk", none, work(DirectLine::new(settings, clock, entropy), DirectLine::serve))
        }
        _ => return None,
    })
}
