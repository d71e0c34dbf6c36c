//! `message.Echo`: returns the message, with the name of the pod.

use proto::message::{EchoRequest, EchoResponse, echo_server::Echo};
use tonic::{Request, Response, Status};

use crate::responder::Responder;

#[derive(Debug)]
pub(crate) struct EchoService(pub(crate) Responder);

#[tonic::async_trait]
impl Echo for EchoService {
    async fn echo_message(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        self.0.wait(request.metadata()).await?;
        let EchoRequest { message } = request.into_inner();
        let server_id = self.0.identity.hostname.clone();
        Ok(Response::new(EchoResponse { message, server_id }))
    }
}
