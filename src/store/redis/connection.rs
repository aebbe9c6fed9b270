//! How a Redis is connected to: one server, the one that sentinels name, or a cluster.

use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use ::redis::cluster::{ClusterClient, ClusterClientBuilder};
use ::redis::cluster_async::ClusterConnection;
use ::redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use ::redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisFuture, RedisResult, TlsCertificates, TlsMode, Value,
};

use super::scripts::PREFIX;
use crate::store::{RedisPlace, Topology};

/// A connection is there within this, or not at all.
const CONNECT: Duration = Duration::from_secs(1);
/// A command is answered within this: less than an operation has, so that a connection that is dead is replaced.
const RESPONSE: Duration = Duration::from_millis(1500);

/// Connects. The crate's types show passwords in `Debug`: this has none.
pub(super) enum Connector {
    One(Box<Client>),
    /// Sentinels, and the name of the master that they know. Who asks them needs a client for itself: one that waits for
    /// another's answer gains nothing by a connection of its own.
    Sentinel(Box<(RedisPlace, String)>),
    /// A cluster, and one of its servers: what is published reaches them all.
    Cluster(Box<(ClusterClient, Client)>),
}

impl Connector {
    pub(super) fn new(place: &RedisPlace) -> RedisResult<Self> {
        let infos =
            place.nodes.iter().map(|node| info(place, address(place, node))).collect::<RedisResult<Vec<_>>>()?;
        let first = infos.first().cloned().ok_or((::redis::ErrorKind::InvalidClientConfig, "no host"))?;
        Ok(match &place.topology {
            Topology::One => Self::One(Box::new(client(place, first)?)),
            Topology::Cluster => Self::Cluster(Box::new((cluster(place, infos)?, client(place, first)?))),
            Topology::Sentinel { master } => {
                // What is wrong with it is said now.
                sentinel(place, master)?;
                Self::Sentinel(Box::new((place.clone(), master.clone())))
            }
        })
    }

    /// A connection that many may use at once.
    pub(super) async fn connect(&self) -> RedisResult<Connection> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(RESPONSE));
        Ok(match self {
            Self::One(client) => Connection::One(client.get_multiplexed_async_connection_with_config(&config).await?),
            Self::Sentinel(named) => {
                Connection::One(sentinel(&named.0, &named.1)?.get_async_connection_with_config(&config).await?)
            }
            Self::Cluster(clients) => Connection::Cluster(clients.0.get_async_connection().await?),
        })
    }

    /// A connection for what is published.
    pub(super) async fn listen(&self) -> RedisResult<PubSub> {
        match self {
            Self::One(client) => client.get_async_pubsub().await,
            Self::Cluster(clients) => clients.1.get_async_pubsub().await,
            Self::Sentinel(named) => sentinel(&named.0, &named.1)?.async_get_client().await?.get_async_pubsub().await,
        }
    }
}

/// Where TLS is spoken, certificates are always checked: there is nothing here to switch that off.
fn client(place: &RedisPlace, info: ConnectionInfo) -> RedisResult<Client> {
    if place.is_tls { Client::build_with_tls(info, trusted(place)) } else { Client::open(info) }
}

/// Whose certificates are good.
fn trusted(place: &RedisPlace) -> TlsCertificates {
    TlsCertificates { client_tls: None, root_cert: place.authorities.clone() }
}

fn address(place: &RedisPlace, (host, port): &(String, u16)) -> ConnectionAddr {
    if place.is_tls {
        ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host.clone(), *port)
    }
}

fn info(place: &RedisPlace, address: ConnectionAddr) -> RedisResult<ConnectionInfo> {
    let mut settings = RedisConnectionInfo::default().set_db(place.database);
    if let Some(user) = &place.user {
        settings = settings.set_username(user);
    }
    if let Some(password) = &place.password {
        settings = settings.set_password(password.expose());
    }
    Ok(address.into_connection_info()?.set_redis_settings(settings))
}

fn cluster(place: &RedisPlace, infos: Vec<ConnectionInfo>) -> RedisResult<ClusterClient> {
    let mut builder =
        ClusterClientBuilder::new(infos).connection_timeout(CONNECT).response_timeout(RESPONSE).retries(2);
    if place.is_tls {
        builder = builder.tls(TlsMode::Secure).certs(trusted(place));
    }
    if let Some(user) = &place.user {
        builder = builder.username(user);
    }
    if let Some(password) = &place.password {
        builder = builder.password(password.expose());
    }
    builder.build()
}

fn sentinel(place: &RedisPlace, master: &str) -> RedisResult<SentinelClient> {
    let addresses = place.nodes.iter().map(|node| address(place, node));
    let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?
        .set_client_to_redis_db(place.database);
    if place.is_tls {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(trusted(place))
            .set_client_to_sentinel_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_certificates(trusted(place));
    }
    if let Some(user) = &place.user {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = &place.password {
        builder = builder.set_client_to_redis_password(password.expose());
    }
    builder.build()
}

/// A connection to one server or to a cluster.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    /// What the server answers that has the store's keys. By itself the crate sends a command without a key to any server
    /// of a cluster, or to all of them.
    pub(super) async fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(command).await,
            Self::Cluster(connection) => {
                let owner = SingleNodeRoutingInfo::SpecificNode(Route::with_key(PREFIX, SlotAddr::Master));
                connection.route_command(command.clone(), RoutingInfo::SingleNode(owner)).await
            }
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}
