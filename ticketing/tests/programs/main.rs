//! ticketing as processes: one alone, bad input, two on one SQLite file, and with PostgreSQL (`.ci/ticketing`).

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod alone;
mod bad_input;
mod postgres;
mod sqlite;

use std::collections::BTreeMap;

use proto::ticketing::{
    CreateCustomerRequest, Customer, GetCustomerRequest, ListCustomersRequest,
    customer_controller_client::CustomerControllerClient,
};
use service::testing::{Running, bounded};
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};

const EXE: &str = env!("CARGO_BIN_EXE_ticketing");

type Client = CustomerControllerClient<Channel>;

async fn client(running: &Running) -> Client {
    let endpoint = Endpoint::new(format!("http://{}", running.listen)).unwrap();
    Client::new(bounded(endpoint.connect()).await.unwrap())
}

fn named(first_name: &str, last_name: &str) -> CreateCustomerRequest {
    CreateCustomerRequest { first_name: first_name.into(), last_name: last_name.into() }
}

fn with<T>(message: T, key: &'static str, value: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(key, value.parse().unwrap());
    request
}

fn id(id: &str) -> GetCustomerRequest {
    GetCustomerRequest { id: id.into() }
}

/// Reads all pages, and returns the customers by id.
async fn all(client: &mut Client, page_size: i32) -> BTreeMap<String, Customer> {
    let mut customers = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let request = ListCustomersRequest { page_size, page_token };
        let page = bounded(client.list_customers(request)).await.unwrap().into_inner();
        for customer in page.customers {
            assert_eq!(customers.insert(customer.id.clone(), customer), None, "a customer is on two pages");
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return customers;
        }
    }
}
