//! Every simulated vendor behind one gateway, at its documented paths.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use keystile::clock::Clock;
use keystile::demo::vendor::aichatbothub::{self, AiChatbotHub};
use keystile::demo::vendor::directline::{self, DirectLine};
use keystile::demo::vendor::genesys::{self, Genesys};
use keystile::demo::vendor::hottask::{self, HotTask};
use keystile::demo::vendor::openai::{self, OpenAi};
use keystile::demo::vendor::superseek::{self, Superseek};
use keystile::id::Entropy;
use keystile::secret::Secret;
use tokio::net::TcpListener;

use super::gateway::{KEY, PAGE, TestGateway};
use super::vendor::on_a_thread;

/// The vendors' own ids of the one bot that each has; the gateway calls it by the vendor's name.
pub(crate) const SUPERSEEK: &str = "1234";
pub(crate) const HUB: &str = "3f0b5a1e-6a52-4a53-9d6c-0f7d9a4c2b11";
pub(crate) const HOTTASK: &str = "SN-2024-0001";
pub(crate) const MODEL: &str = "gpt-4o-mini";
/// How long a vendor thinks about each word.
const PACE: Duration = Duration::from_millis(2);

/// A gateway with all vendors behind it; ChatBotKit's bot is `support`.
pub(crate) struct Fleet {
    pub(crate) gateway: TestGateway,
    pub(crate) superseek: Arc<Superseek>,
    pub(crate) hub: Arc<AiChatbotHub>,
    pub(crate) hottask: Arc<HotTask>,
    pub(crate) genesys: Arc<Genesys>,
    pub(crate) openai: Arc<OpenAi>,
    pub(crate) directline: Arc<DirectLine>,
}

impl Fleet {
    /// Starts all of them.
    pub(crate) fn start() -> Self {
        let (key, pace) = (Secret::new(KEY), PACE);
        let (clock, entropy) = (Clock::system(), Entropy::system());
        let world = || (clock.clone(), entropy.clone());
        let bots = |bot: &str| vec![bot.to_owned()];
        let superseek =
            Superseek::new(superseek::Settings { key: key.clone(), bots: bots(SUPERSEEK) }, entropy.clone());
        let hub = AiChatbotHub::new(
            aichatbothub::Settings { key: key.clone(), bots: bots(HUB), pace },
            clock.clone(),
            entropy.clone(),
        );
        let hottask = HotTask::new(hottask::Settings { key: key.clone(), bots: bots(HOTTASK), pace });
        let settings = genesys::Settings {
            key_header: "X-Knowledge-Key".to_owned(),
            key: key.clone(),
            tenant: Some("acme".to_owned()),
        };
        let genesys = Genesys::new(settings, world().0, world().1);
        let models = vec![MODEL.to_owned()];
        let openai = OpenAi::new(openai::Settings { key: key.clone(), models, pace }, world().0, world().1);
        let directline = DirectLine::new(directline::Settings { key, pace }, world().0, world().1);
        let genesys_options = "options = { key_header = \"X-Knowledge-Key\", tenant = \"acme\" }";
        let sections = [
            section("superseek", SUPERSEEK, "", &served(&superseek, Superseek::serve)),
            section("aichatbothub", HUB, "", &served(&hub, AiChatbotHub::serve)),
            section("hottask", HOTTASK, "", &served(&hottask, HotTask::serve)),
            section("genesys", "knowledge", genesys_options, &served(&genesys, Genesys::serve)),
            section("openai", MODEL, "", &served(&openai, OpenAi::serve)),
            section("directline", "helpdesk", "", &served(&directline, DirectLine::serve)),
        ];
        let gateway = TestGateway::chatbotkit().sections(&sections.concat()).start();
        Self { gateway, superseek, hub, hottask, genesys, openai, directline }
    }
}

/// Serves a vendor, and says where.
fn served<V, F>(vendor: &Arc<V>, serve: fn(Arc<V>, TcpListener) -> F) -> String
where
    V: Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let vendor = Arc::clone(vendor);
    on_a_thread(socket, move |listener| serve(vendor, listener));
    url
}

fn section(name: &str, bot: &str, more: &str, url: &str) -> String {
    format!(
        r#"
[vendors.{name}]
profile = "{name}"
base_url = "{url}"
keys = [{{ env = "KEY" }}]
{more}
[bots.{name}]
vendor = "{name}"
vendor_id = "{bot}"
visibility = "public"
origins = ["{PAGE}"]
owners = ["website"]
"#
    )
}
