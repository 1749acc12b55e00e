//! The catalog's owner: core 0. Creates and deletes topics, gives out producer ids.
//!
//! Promise: when a change is answered it is durable and every core knows of it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use keylane_engine::catalog::{Catalog, CatalogError, NewTopic, Topic};
use keylane_engine::disk::uring::UringDisk;
use tokio::sync::Mutex;

use crate::core::Core;
use crate::mesh::call;

/// Core 0 owns the catalog.
pub const CONTROLLER: usize = 0;

/// The catalog, one change at a time.
pub struct Controller {
    catalog: Mutex<Catalog<UringDisk>>,
}

impl Controller {
    /// Takes the catalog over.
    pub fn new(catalog: Catalog<UringDisk>) -> Self {
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

/// Has every core take a new or changed topic in.
async fn tell_all(core: &Rc<Core>, topic: &Arc<Topic>) {
    for to in 0..core.cluster.cores {
        let topic = Arc::clone(topic);
        call(core, to, move |core| async move { core.add_topic(&topic) }).await;
    }
}

/// Deletes a topic. Callable on any core.
pub async fn delete(core: &Rc<Core>, name: String) -> Option<Result<Arc<Topic>, CatalogError>> {
    call(core, CONTROLLER, move |core| async move {
        let mut catalog = of(&core).catalog.lock().await;
        let topic = catalog.delete(&name).await?;
        let id = topic.id;
        for to in 0..core.cluster.cores {
            call(&core, to, move |core| async move { core.remove_topic(id) }).await;
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
