//! Asks a server what its methods are: gRPC server reflection, v1, and v1alpha where that is all there is.
//! <https://github.com/grpc/grpc/blob/master/doc/server-reflection.md>

use std::collections::BTreeMap;

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
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
use crate::method::{MethodName, Unfit};

/// Where the question is put, newest first; the messages are the same.
const PATHS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// A description of more files than this goes on without end.
const MOST_FILES: usize = 4096;

/// An answer may describe many files at once.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

/// A server being asked.
struct Inquiry<'a, T> {
    client: Grpc<T>,
    path: PathAndQuery,
    metadata: &'a MetadataMap,
}

/// Everything that the server says about the service of `name`.
pub(super) async fn describe<T>(
    client: Grpc<T>,
    metadata: &MetadataMap,
    name: &MethodName,
) -> Result<DescriptorPool, Unfit>
where
    T: GrpcService<Body>,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    let client = client.max_decoding_message_size(LARGEST_ANSWER);
    let [v1, v1alpha] = PATHS.map(PathAndQuery::from_static);
    let mut inquiry = Inquiry { client, path: v1, metadata };
    let question = || vec![MessageRequest::FileContainingSymbol(name.service.clone())];
    let mut answers = inquiry.ask(question()).await;
    if is(&answers, Code::Unimplemented) {
        inquiry.path = v1alpha;
        answers = inquiry.ask(question()).await;
    }
    if is(&answers, Code::Unimplemented) {
        let why = "the server has no reflection; say what its methods are with --proto FILE";
        return Err(Unfit::Untold(why.to_owned()));
    }
    let mut files = BTreeMap::new();
    match refused(answers)? {
        Ok(described) => add(&mut files, described)?,
        Err(why) => return Err(inquiry.no_service(name, &why).await),
    }
    inquiry.imports(&mut files).await?;
    let file = files.into_values().collect();
    let pool = DescriptorPool::from_file_descriptor_set(FileDescriptorSet { file });
    let pool = pool.map_err(|error| untold(&format!("its descriptions do not fit together: {error:?}")))?;
    match pool.get_service_by_name(&name.service) {
        Some(_) => Ok(pool),
        None => Err(untold(&format!("asked for {}, it describes something else", name.service))),
    }
}

// === impl Inquiry ===

impl<T> Inquiry<'_, T>
where
    T: GrpcService<Body>,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    /// Puts questions, and returns as many answers.
    async fn ask(&mut self, questions: Vec<MessageRequest>) -> Result<Vec<MessageResponse>, Status> {
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

    /// Asks for what the files import, and for what that imports.
    async fn imports(&mut self, files: &mut BTreeMap<String, FileDescriptorProto>) -> Result<(), Unfit> {
        let well_known = DescriptorPool::global();
        loop {
            let imported = files.values().flat_map(|file| &file.dependency);
            let mut missing: Vec<_> = imported.filter(|name| !files.contains_key(*name)).cloned().collect();
            missing.sort_unstable();
            missing.dedup();
            if missing.is_empty() {
                return Ok(());
            }
            if files.len() + missing.len() > MOST_FILES {
                return Err(untold(&format!("its descriptions go on past {MOST_FILES} files")));
            }
            // Servers leave out the files that come with protobuf itself.
            let (ours, missing): (Vec<_>, Vec<_>) =
                missing.into_iter().partition(|name| well_known.get_file_by_name(name).is_some());
            for file in ours.iter().filter_map(|name| well_known.get_file_by_name(name)) {
                files.insert(file.name().to_owned(), file.file_descriptor_proto().clone());
            }
            if missing.is_empty() {
                continue;
            }
            let questions = missing.iter().cloned().map(MessageRequest::FileByFilename).collect();
            match refused(self.ask(questions).await)? {
                Ok(described) => add(files, described)?,
                Err(why) => {
                    return Err(untold(&format!("it does not describe {}: {why}", missing.join(", "))));
                }
            }
            if let Some(absent) = missing.iter().find(|name| !files.contains_key(*name)) {
                return Err(untold(&format!("asked for the file {absent}, it describes something else")));
            }
        }
    }

    /// Returns the error for a service that is not described.
    async fn no_service(&mut self, name: &MethodName, why: &str) -> Unfit {
        let answers = self.ask(vec![MessageRequest::ListServices(String::new())]).await;
        match answers.as_deref() {
            Ok([MessageResponse::ListServicesResponse(listed)]) => {
                let services: Vec<_> = listed.service.iter().map(|service| service.name.clone()).collect();
                if services.contains(&name.service) {
                    return untold(&format!("it lists {} and does not describe it: {why}", name.service));
                }
                Unfit::Usage(name.no_service(&services))
            }
            _ => untold(&format!("it does not describe {}: {why}", name.service)),
        }
    }
}

fn is(answers: &Result<Vec<MessageResponse>, Status>, code: Code) -> bool {
    answers.as_ref().is_err_and(|status| status.code() == code)
}

/// The descriptions, or why the server has none; a server that has none may say so in an answer or as the status.
fn refused(answers: Result<Vec<MessageResponse>, Status>) -> Result<Result<Vec<Vec<u8>>, String>, Unfit> {
    let answers = match answers {
        Ok(answers) => answers,
        Err(status) if status.code() == Code::NotFound => return Ok(Err(status::plain(&status))),
        Err(status) => return Err(untold(&status::plain(&status))),
    };
    let mut described = Vec::new();
    for answer in answers {
        match answer {
            MessageResponse::FileDescriptorResponse(files) => described.extend(files.file_descriptor_proto),
            MessageResponse::ErrorResponse(ErrorResponse { error_code, error_message }) => {
                return Ok(Err(status::plain(&Status::new(Code::from(error_code), error_message))));
            }
            _ => return Err(untold("it answers another question than it was asked")),
        }
    }
    Ok(Ok(described))
}

fn add(files: &mut BTreeMap<String, FileDescriptorProto>, described: Vec<Vec<u8>>) -> Result<(), Unfit> {
    for file in described {
        let file = FileDescriptorProto::decode(&file[..]);
        let file = file.map_err(|error| untold(&format!("it sends what is no description: {error}")))?;
        // The first counts: a server that sends a file again sends the same.
        files.entry(file.name().to_owned()).or_insert(file);
    }
    Ok(())
}

fn untold(why: &str) -> Unfit {
    Unfit::Untold(format!("reflection fails: {why}; say what its methods are with --proto FILE"))
}
