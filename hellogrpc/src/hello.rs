//! `hello.Hello`: the caller's name, and the version and hostname of the program.

use proto::hello::{Greeting, Introduction, hello_server::Hello};
use service::Identity;
use tonic::{Request, Response, Status};

use crate::responder::Responder;

#[derive(Debug)]
pub(crate) struct HelloService(pub(crate) Responder);

#[tonic::async_trait]
impl Hello for HelloService {
    async fn say_hello(&self, request: Request<Greeting>) -> Result<Response<Introduction>, Status> {
        self.0.wait(request.metadata()).await?;
        let Greeting { name } = request.into_inner();
        let Identity { version, hostname } = self.0.identity.clone();
        Ok(Response::new(Introduction { name, version, hostname }))
    }
}
