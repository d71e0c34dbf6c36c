//! Queries the methods of a server by gRPC server reflection, v1, or v1alpha if v1 fails.
//! <https://github.com/grpc/grpc/blob/master/doc/server-reflection.md>

use std::collections::BTreeSet;

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;
use tonic::{
    Code, Request, Status,
    body::Body,
    client::{Grpc, GrpcService},
    codegen::{Body as HttpBody, StdError},
    metadata::MetadataMap,
};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::{
    ErrorResponse, ServerReflectionRequest, ServerReflectionResponse,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::status;
use crate::method::{Files, MethodError, MethodName};

/// The reflection methods, newest first. Their messages are the same.
const PATHS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// The maximum number of files. A server that describes more is treated as endless.
const MAX_FILES: usize = 4096;

/// The maximum size of a response, which may describe many files at once.
const MAX_RESPONSE_SIZE: usize = 64 * 1024 * 1024;

/// A server's reflection.
pub(super) struct Reflection<'a, T> {
    client: Grpc<T>,
    path: PathAndQuery,
    metadata: &'a MetadataMap,
}

// === impl Reflection ===

impl<'a, T> Reflection<'a, T>
where
    T: GrpcService<Body>,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    pub(super) fn new(client: Grpc<T>, metadata: &'a MetadataMap) -> Self {
        let client = client.max_decoding_message_size(MAX_RESPONSE_SIZE);
        Self { client, path: PathAndQuery::from_static(PATHS[0]), metadata }
    }

    /// Returns the descriptors of the service of `name`.
    pub(super) async fn service(&mut self, name: &MethodName) -> Result<DescriptorPool, MethodError> {
        let answers = self.send_first(MessageRequest::FileContainingSymbol(name.service.clone())).await?;
        let files = match descriptors(answers)? {
            Ok(described) => described,
            Err(why) => return Err(self.no_service(name, &why).await),
        };
        let pool = self.pool(files).await?;
        match pool.get_service_by_name(&name.service) {
            Some(_) => Ok(pool),
            None => {
                Err(reflection_failed(&format!("asked for {}, it describes something else", name.service)))
            }
        }
    }

    /// Returns the descriptors of a service or message.
    pub(super) async fn symbol(&mut self, symbol: &str) -> Result<DescriptorPool, MethodError> {
        let answers = self.send_first(MessageRequest::FileContainingSymbol(symbol.to_owned())).await?;
        match descriptors(answers)? {
            Ok(described) => self.pool(described).await,
            Err(why) => Err(MethodError::Usage(format!("the server does not describe {symbol}: {why}"))),
        }
    }

    /// Returns the names of the server's services.
    pub(super) async fn services(&mut self) -> Result<Vec<String>, MethodError> {
        let answers = self.send_first(MessageRequest::ListServices(String::new())).await?;
        match answers
            .map_err(|status| reflection_failed(&status::describe_reflection_status(&status)))?
            .as_slice()
        {
            [MessageResponse::ListServicesResponse(listed)] => {
                let names: BTreeSet<_> = listed.service.iter().map(|service| service.name.clone()).collect();
                Ok(names.into_iter().collect())
            }
            [MessageResponse::ErrorResponse(error)] => {
                Err(reflection_failed(&status::describe_reflection_status(&Status::new(
                    Code::from(error.error_code),
                    &error.error_message,
                ))))
            }
            _ => Err(reflection_failed("it answers another question than it was asked")),
        }
    }

    /// Sends the first request to v1 and, if that fails, to v1alpha.
    async fn send_first(
        &mut self,
        question: MessageRequest,
    ) -> Result<Result<Vec<MessageResponse>, Status>, MethodError> {
        let v1 = self.send(vec![question.clone()]).await;
        let Err(v1_status) = v1 else { return Ok(v1) };
        let path = std::mem::replace(&mut self.path, PathAndQuery::from_static(PATHS[1]));
        let v1alpha = self.send(vec![question]).await;
        match &v1alpha {
            Err(status)
                if v1_status.code() == Code::Unimplemented && status.code() == Code::Unimplemented =>
            {
                let why = "the server has no reflection; say what its methods are with --proto FILE";
                Err(MethodError::NoReflection(why.to_owned()))
            }
            Err(_) if v1_status.code() != Code::Unimplemented => {
                self.path = path;
                Ok(Err(v1_status))
            }
            _ => Ok(v1alpha),
        }
    }

    /// Sends requests, and returns as many responses.
    async fn send(&mut self, questions: Vec<MessageRequest>) -> Result<Vec<MessageResponse>, Status> {
        let wanted = questions.len();
        let questions = questions
            .into_iter()
            .map(|question| ServerReflectionRequest { host: String::new(), message_request: Some(question) });
        let mut request = Request::new(futures_util::stream::iter(questions));
        *request.metadata_mut() = self.metadata.clone();
        let unready = |error: T::Error| Status::from_error(error.into());
        self.client.ready().await.map_err(unready)?;
        let codec = ProstCodec::<_, ServerReflectionResponse>::default();
        let mut stream = self.client.streaming(request, self.path.clone(), codec).await?.into_inner();
        let mut answers = Vec::with_capacity(wanted);
        while answers.len() < wanted {
            let Some(answer) = stream.message().await? else {
                return Err(Status::internal("its reflection leaves a question without an answer"));
            };
            answers.extend(answer.message_response);
        }
        Ok(answers)
    }

    /// Builds a pool of the described files, after requesting their imports and the types that they use.
    async fn pool(&mut self, described: Vec<Vec<u8>>) -> Result<DescriptorPool, MethodError> {
        let mut files = Files::default();
        add(&mut files, described)?;
        let mut asked = BTreeSet::new();
        loop {
            let missing = files.missing_files();
            let mut questions = questions(&missing, &asked, MessageRequest::FileByFilename);
            asked.extend(missing);
            if questions.is_empty() {
                // An import that the server does not have may not be needed.
                let missing = files.missing_types();
                questions = self::questions(&missing, &asked, MessageRequest::FileContainingSymbol);
                asked.extend(missing);
            }
            if questions.is_empty() {
                return files.into_pool().map_err(|why| reflection_failed(&why));
            }
            if files.count() + questions.len() > MAX_FILES {
                return Err(reflection_failed(&format!("its descriptions go on past {MAX_FILES} files")));
            }
            for answer in self
                .send(questions)
                .await
                .map_err(|status| reflection_failed(&status::describe_reflection_status(&status)))?
            {
                // Building the pool reports types that are still missing.
                if let Ok(described) = descriptors(Ok(vec![answer]))? {
                    add(&mut files, described)?;
                }
            }
        }
    }

    /// Returns the error for a service that is not described.
    async fn no_service(&mut self, name: &MethodName, why: &str) -> MethodError {
        let answers = self.send(vec![MessageRequest::ListServices(String::new())]).await;
        match answers.as_deref() {
            Ok([MessageResponse::ListServicesResponse(listed)]) => {
                let services: Vec<_> = listed.service.iter().map(|service| service.name.clone()).collect();
                if services.contains(&name.service) {
                    return reflection_failed(&format!(
                        "it lists {} and does not describe it: {why}",
                        name.service
                    ));
                }
                MethodError::Usage(name.no_service(&services))
            }
            _ => reflection_failed(&format!("it does not describe {}: {why}", name.service)),
        }
    }
}

fn questions(
    missing: &BTreeSet<String>,
    asked: &BTreeSet<String>,
    question: fn(String) -> MessageRequest,
) -> Vec<MessageRequest> {
    missing.difference(asked).cloned().map(question).collect()
}

/// Returns the descriptors or the server's error, which may be a response or the status of the call.
fn descriptors(
    answers: Result<Vec<MessageResponse>, Status>,
) -> Result<Result<Vec<Vec<u8>>, String>, MethodError> {
    let answers = match answers {
        Ok(answers) => answers,
        Err(status) if status.code() == Code::NotFound => {
            return Ok(Err(status::describe_reflection_status(&status)));
        }
        Err(status) => return Err(reflection_failed(&status::describe_reflection_status(&status))),
    };
    let mut described = Vec::new();
    for answer in answers {
        match answer {
            MessageResponse::FileDescriptorResponse(files) => described.extend(files.file_descriptor_proto),
            MessageResponse::ErrorResponse(ErrorResponse { error_code, error_message }) => {
                return Ok(Err(status::describe_reflection_status(&Status::new(
                    Code::from(error_code),
                    error_message,
                ))));
            }
            _ => return Err(reflection_failed("it answers another question than it was asked")),
        }
    }
    Ok(Ok(described))
}

fn add(files: &mut Files, described: Vec<Vec<u8>>) -> Result<(), MethodError> {
    for file in described {
        let file = FileDescriptorProto::decode(&file[..]);
        files.add(
            file.map_err(|error| reflection_failed(&format!("it sends what is no description: {error}")))?,
        );
    }
    Ok(())
}

fn reflection_failed(why: &str) -> MethodError {
    MethodError::UnknownMethods(format!(
        "reflection fails: {why}; say what its methods are with --proto FILE"
    ))
}
