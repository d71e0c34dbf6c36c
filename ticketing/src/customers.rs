//! `ticketing.CustomerController`.

use std::{env, sync::Arc};

use prost::{Message as _, length_delimiter_len};
use proto::ticketing::{
    CreateCustomerRequest, Customer, CustomerList, GetCustomerRequest, ListCustomersRequest,
    customer_controller_server::CustomerController,
};
use service::Identity;
use tonic::{Request, Response, Status};

use crate::{
    availability::Availability,
    idempotency,
    store::{Created, Row, Store},
    validation::{self, page_token},
};

/// The names in the answer to a GetCustomer without an id, as in the original service.
const STUB_NAMES: (&str, &str) = ("acac", "accqqq");

/// The id in that answer when the pod has no name.
const STUB_ID: &str = "test";

#[derive(Debug)]
pub(crate) struct Customers {
    stub_id: String,
    store: Arc<Store>,
    availability: Availability,
    max_message_size: usize,
}

// === impl Customers ===

impl Customers {
    pub(crate) fn new(
        identity: &Identity,
        store: Arc<Store>,
        availability: Availability,
        max_message_size: usize,
    ) -> Self {
        Self { stub_id: stub_id(identity), store, availability, max_message_size }
    }

    /// Returns the number of rows that a message can hold: at least one, or List would never get past a large one.
    fn fitting(&self, rows: &[Row]) -> usize {
        let mut size =
            CustomerList { next_page_token: page_token(0), ..CustomerList::default() }.encoded_len();
        let fits = |row: &&Row| {
            let customer = customer((*row).clone()).encoded_len();
            size += 1 + length_delimiter_len(customer) + customer;
            size <= self.max_message_size
        };
        rows.iter().take_while(fits).count().max(1)
    }
}

/// Returns the pod's name if the environment or a flag sets one, else [`STUB_ID`].
fn stub_id(identity: &Identity) -> String {
    let in_environment = env::var_os("POD_NAME").is_some_and(|name| !name.is_empty());
    let as_flag = gethostname::gethostname().to_str() != Some(&identity.hostname);
    if in_environment || as_flag { identity.hostname.clone() } else { STUB_ID.to_owned() }
}

fn customer(Row { number, first_name, last_name }: Row) -> Customer {
    Customer { id: number.to_string(), first_name, last_name }
}

#[tonic::async_trait]
impl CustomerController for Customers {
    async fn get_customer(&self, request: Request<GetCustomerRequest>) -> Result<Response<Customer>, Status> {
        let GetCustomerRequest { id } = request.into_inner();
        if id.is_empty() {
            let (first_name, last_name) = STUB_NAMES;
            let id = self.stub_id.clone();
            return Ok(Response::new(Customer {
                id,
                first_name: first_name.into(),
                last_name: last_name.into(),
            }));
        }
        // An id in another form, `007` or `+7`, was never given to a customer.
        let number = id.parse().ok().filter(|number: &i64| number.to_string() == id);
        let not_found = || Status::not_found("no customer has this id");
        let number = number.ok_or_else(not_found)?;
        self.availability.check()?;
        let row = self.store.get(number).await?.ok_or_else(not_found)?;
        Ok(Response::new(customer(row)))
    }

    async fn create_customer(
        &self,
        request: Request<CreateCustomerRequest>,
    ) -> Result<Response<Customer>, Status> {
        let (metadata, _, CreateCustomerRequest { first_name, last_name }) = request.into_parts();
        validation::names(&first_name, &last_name)?;
        let key = idempotency::key(&metadata, &first_name, &last_name)?;
        self.availability.check()?;
        match self.store.create(first_name, last_name, key).await? {
            Created::Customer(row) => Ok(Response::new(customer(row))),
            Created::KeyReused => Err(Status::already_exists(
                "the idempotency-key was used for a customer with other names: use a new key for each customer",
            )),
        }
    }

    async fn list_customers(
        &self,
        request: Request<ListCustomersRequest>,
    ) -> Result<Response<CustomerList>, Status> {
        let ListCustomersRequest { page_size, page_token: token } = request.into_inner();
        let size = validation::page_size(page_size)?;
        let after = validation::after(&token)?;
        self.availability.check()?;
        // A row beyond the page shows that there is a next one.
        let mut rows = self.store.list(after, size + 1).await?;
        let on_page = self.fitting(&rows).min(size as usize);
        let more = rows.len() > on_page;
        rows.truncate(on_page);
        let next = rows.last().filter(|_| more).map(|last| page_token(last.number));
        let customers = rows.into_iter().map(customer).collect();
        Ok(Response::new(CustomerList { customers, next_page_token: next.unwrap_or_default() }))
    }
}
