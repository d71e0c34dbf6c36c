//! `helloworld.Greeter`: the greeter of the gRPC project's own examples.

use proto::helloworld::{HelloReply, HelloRequest, greeter_server::Greeter};
use tonic::{Request, Response, Status};

use crate::responder::Responder;

#[derive(Debug)]
pub(crate) struct GreeterService(pub(crate) Responder);

#[tonic::async_trait]
impl Greeter for GreeterService {
    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        self.0.wait(request.metadata()).await?;
        let HelloRequest { name } = request.into_inner();
        Ok(Response::new(HelloReply { message: format!("Hello {name}") }))
    }
}
