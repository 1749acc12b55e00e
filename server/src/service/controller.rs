//! The catalog's owner: core 0. Creates, changes and deletes topics, gives out producer ids.
//!
//! Promise: when a change is answered it is durable and every core knows of it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use keylane_engine::catalog::{Catalog, CatalogError, NewTopic, Topic};
use tokio::sync::Mutex;

use crate::config::ServerConfig;
use crate::coordinator::groups;
use crate::core::Core;
use crate::front::kafka::handlers::topics::Refusal;
use crate::runtime::mesh::call;
use crate::service::settings::Values;

/// Core 0 owns the catalog.
pub const CONTROLLER: usize = 0;

/// The catalog, one change at a time.
pub struct Controller {
    catalog: Mutex<Catalog>,
}

impl Controller {
    /// Takes the catalog over.
    pub fn new(catalog: Catalog) -> Self {
        Self { catalog: Mutex::new(catalog) }
    }
}

fn of(core: &Core) -> &Controller {
    core.controller.as_ref().expect("controller work is sent to core 0 only")
}

/// Creates a topic. Callable on any core.
pub async fn create(
    core: &Rc<Core>,
    name: String,
    partitions: usize,
    configs: BTreeMap<String, String>,
) -> Option<Result<Arc<Topic>, CatalogError>> {
    call(core, CONTROLLER, move |core| async move {
        let mut catalog = of(&core).catalog.lock().await;
        let made = catalog.create(vec![NewTopic { name, partitions, configs }]).await?;
        let topic = Arc::clone(&made[0]);
        tell_all(&core, &topic).await;
        Ok(topic)
    })
    .await
}

/// Adds partitions to a topic until it has `partitions`. Callable on any core.
pub async fn grow(
    core: &Rc<Core>,
    name: String,
    partitions: usize,
) -> Option<Result<Arc<Topic>, CatalogError>> {
    call(core, CONTROLLER, move |core| async move {
        let mut catalog = of(&core).catalog.lock().await;
        let topic = catalog.grow(&name, partitions).await?;
        tell_all(&core, &topic).await;
        Ok(topic)
    })
    .await
}

/// Why the settings of a topic were not changed.
#[derive(Debug)]
pub enum AlterError {
    /// They may not be changed in this way.
    Refused(Refusal),
    /// The catalog has no such topic, or cannot be written.
    Catalog(CatalogError),
}

/// Changes the settings of a topic to what `apply` makes of them; with `validate_only` this is only tried.
/// Callable on any core.
pub async fn alter(
    core: &Rc<Core>,
    name: String,
    apply: impl FnOnce(&Values, &ServerConfig) -> Result<Values, Refusal> + Send + 'static,
    validate_only: bool,
) -> Option<Result<(), AlterError>> {
    call(core, CONTROLLER, move |core| async move {
        // Held from the look to the change, so that changes of two clients do not undo each other.
        let mut catalog = of(&core).catalog.lock().await;
        let Some(known) = catalog.topic(&name) else {
            // What no topic could be told is said first, as in Kafka.
            apply(&Values::new(), &core.config).map_err(AlterError::Refused)?;
            return Err(AlterError::Catalog(CatalogError::Unknown(name)));
        };
        let configs = apply(&known.configs, &core.config).map_err(AlterError::Refused)?;
        if validate_only {
            return Ok(());
        }
        let topic = catalog.configure(&name, configs).await.map_err(AlterError::Catalog)?;
        tell_all(&core, &topic).await;
        Ok(())
    })
    .await
}

/// Has every core take a new or changed topic in.
async fn tell_all(core: &Rc<Core>, topic: &Arc<Topic>) {
    for to in 0..core.cluster.cores {
        let topic = Arc::clone(topic);
        call(core, to, move |core| async move { core.add_topic(&topic) }).await;
    }
}

/// Deletes a topic, and what groups have committed for it. Callable on any core.
pub async fn delete(core: &Rc<Core>, name: String) -> Option<Result<Arc<Topic>, CatalogError>> {
    call(core, CONTROLLER, move |core| async move {
        let mut catalog = of(&core).catalog.lock().await;
        let topic = catalog.delete(&name).await?;
        let id = topic.id;
        for to in 0..core.cluster.cores {
            call(&core, to, move |core| async move { core.remove_topic(id) }).await;
        }
        for to in 0..core.cluster.cores {
            call(&core, to, move |core| async move { groups::forget_topic(&core, id).await }).await;
        }
        Ok(topic)
    })
    .await
}

/// A producer id that was never given out before. Callable on any core.
pub async fn next_producer_id(core: &Rc<Core>) -> Option<Result<i64, CatalogError>> {
    call(core, CONTROLLER, move |core| async move {
        let mut catalog = of(&core).catalog.lock().await;
        catalog.next_producer_id().await
    })
    .await
}
