//! A server with nothing but tonic and sqlx, that answers Get.

use std::{env, str::FromStr as _};

use proto::ticketing::{
    CreateCustomerRequest, Customer, CustomerList, GetCustomerRequest, ListCustomersRequest,
    customer_controller_server::{CustomerController, CustomerControllerServer},
};
use sqlx::{
    ConnectOptions as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

const GET: &str = "SELECT number, first_name, last_name FROM customers WHERE number = $1";

struct Bare(SqlitePool);

/// Serves on a free port, which it prints, until it is killed. The pool is configured as ticketing's.
pub(super) async fn serve() {
    let options = SqliteConnectOptions::from_str(&env::var("DATABASE_URL").unwrap()).unwrap();
    let options = options.journal_mode(SqliteJournalMode::Wal).disable_statement_logging();
    let pool = SqlitePoolOptions::new().max_connections(8).test_before_acquire(false).connect_with(options);
    let pool = pool.await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    eprintln!("{{\"listen\":\"{}\"}}", listener.local_addr().unwrap());
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let service = CustomerControllerServer::new(Bare(pool));
    Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
}

#[tonic::async_trait]
impl CustomerController for Bare {
    async fn get_customer(&self, request: Request<GetCustomerRequest>) -> Result<Response<Customer>, Status> {
        let number: i64 = request.get_ref().id.parse().map_err(|_| Status::not_found(""))?;
        let row: Option<(i64, String, String)> = sqlx::query_as(GET)
            .bind(number)
            .fetch_optional(&self.0)
            .await
            .map_err(|error| Status::internal(error.to_string()))?;
        let (number, first_name, last_name) = row.ok_or_else(|| Status::not_found(""))?;
        Ok(Response::new(Customer { id: number.to_string(), first_name, last_name }))
    }

    async fn create_customer(&self, _: Request<CreateCustomerRequest>) -> Result<Response<Customer>, Status> {
        Err(Status::unimplemented("the benchmark calls Get only"))
    }

    async fn list_customers(
        &self,
        _: Request<ListCustomersRequest>,
    ) -> Result<Response<CustomerList>, Status> {
        Err(Status::unimplemented("the benchmark calls Get only"))
    }
}
