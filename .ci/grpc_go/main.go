// Calls a server through grpc-go and the code that its own generator makes. Reads what to call as JSON from standard
// input, and writes the answers as JSON: see ../grpc_go.py.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"os"
	"time"

	"github.com/golang/protobuf/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"echo"
	"hello"
	"helloworld"
	"message"
	"ticketing"
)

const (
	timeout    = 10 * time.Second
	roundRobin = `{"loadBalancingConfig": [{"round_robin": {}}]}`
)

type input struct {
	Target string
	// The number of pods. The first call is repeated until each of them has answered it.
	Pods  int
	Calls []call
}

type call struct {
	Path    string
	Request string // in hexadecimal digits
}

type answer struct {
	Messages []string    `json:"messages"`
	Headers  metadata.MD `json:"headers"`
	Trailers metadata.MD `json:"trailers"`
	Code     uint32      `json:"code"`
	Details  string      `json:"details"`
}

type method func(ctx context.Context, request []byte, options ...grpc.CallOption) ([]proto.Message, error)

// unary makes a method of a generated one.
func unary[Q, A any](stub func(context.Context, *Q, ...grpc.CallOption) (*A, error)) method {
	return func(ctx context.Context, request []byte, options ...grpc.CallOption) ([]proto.Message, error) {
		decoded := new(Q)
		if err := proto.Unmarshal(request, any(decoded).(proto.Message)); err != nil {
			log.Fatal(err)
		}
		answer, err := stub(ctx, decoded, options...)
		if err != nil {
			return nil, err
		}
		return []proto.Message{any(answer).(proto.Message)}, nil
	}
}

func stream(client echo.EchoServerClient) method {
	return func(ctx context.Context, request []byte, options ...grpc.CallOption) ([]proto.Message, error) {
		decoded := new(echo.EchoRequest)
		if err := proto.Unmarshal(request, decoded); err != nil {
			log.Fatal(err)
		}
		replies, err := client.SayHelloStream(ctx, decoded, options...)
		if err != nil {
			return nil, err
		}
		var messages []proto.Message
		for {
			reply, err := replies.Recv()
			if err == io.EOF {
				return messages, nil
			}
			if err != nil {
				return messages, err
			}
			messages = append(messages, reply)
		}
	}
}

func methods(connection *grpc.ClientConn) map[string]method {
	customers := ticketing.NewCustomerControllerClient(connection)
	echoServer := echo.NewEchoServerClient(connection)
	return map[string]method{
		"/hello.Hello/SayHello":                        unary(hello.NewHelloClient(connection).SayHello),
		"/helloworld.Greeter/SayHello":                 unary(helloworld.NewGreeterClient(connection).SayHello),
		"/echo.EchoServer/SayHello":                    unary(echoServer.SayHello),
		"/echo.EchoServer/SayHelloStream":              stream(echoServer),
		"/message.Echo/EchoMessage":                    unary(message.NewEchoClient(connection).EchoMessage),
		"/ticketing.CustomerController/GetCustomer":    unary(customers.GetCustomer),
		"/ticketing.CustomerController/CreateCustomer": unary(customers.CreateCustomer),
		"/ticketing.CustomerController/ListCustomers":  unary(customers.ListCustomers),
	}
}

func (call call) answer(methods map[string]method) (answer answer) {
	method, known := methods[call.Path]
	request, err := hex.DecodeString(call.Request)
	if !known || err != nil {
		log.Fatal("bad call: ", call)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "idempotency-key", "ci")
	messages, err := method(ctx, request, grpc.Header(&answer.Headers), grpc.Trailer(&answer.Trailers))
	for _, message := range messages {
		encoded, err := proto.Marshal(message)
		if err != nil {
			log.Fatal(err)
		}
		answer.Messages = append(answer.Messages, hex.EncodeToString(encoded))
	}
	status := status.Convert(err)
	answer.Code, answer.Details = uint32(status.Code()), status.Message()
	// grpc-go decodes this trailer, and takes it out of the others.
	if details := status.Proto().GetDetails(); len(details) > 0 {
		answer.Trailers.Append("grpc-status-details-bin", details[0].GetTypeUrl())
	}
	return answer
}

func main() {
	var input input
	if err := json.NewDecoder(os.Stdin).Decode(&input); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	connection, err := grpc.DialContext(ctx, input.Target, grpc.WithInsecure(), grpc.WithBlock(),
		grpc.WithDefaultServiceConfig(roundRobin))
	if err != nil {
		log.Fatal(err)
	}
	methods := methods(connection)
	seen := map[string]bool{}
	for len(seen) < input.Pods && ctx.Err() == nil {
		for _, pod := range input.Calls[0].answer(methods).Headers["hostname"] {
			seen[pod] = true
		}
	}
	answers := []answer{}
	for _, call := range input.Calls {
		answers = append(answers, call.answer(methods))
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		log.Fatal(err)
	}
}
