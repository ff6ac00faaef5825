use std::cell::Cell;

use tidegate_api::object::{Key, Kind};
use tidegate_api::time::Span;
use tidegate_controller::question::{Asker, ClientCredentials, SigV4};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A server on loopback that answers each request by a rule, and remembers what it was asked.
#[derive(Clone)]
struct Server {
    address: String,
    asked: Rc<RefCell<Vec<String>>>,
}

impl Server {
    /// The rule gets a request (first line, headers in small letters, body) and gives status, headers and body.
    async fn start(rule: impl Fn(&str) -> (u16, String, String) + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked: Rc<RefCell<Vec<String>>> = Rc::default();
        let server = Server { address, asked: asked.clone() };
        let rule = Rc::new(rule);
        tokio::task::spawn_local(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (rule, asked) = (rule.clone(), asked.clone());
                tokio::task::spawn_local(async move {
                    let request = request(&mut stream).await;
                    asked.borrow_mut().push(request.clone());
                    let (status, headers, body) = rule(&request);
                    if status == 0 {
                        // Never answers.
                        return std::future::pending().await;
                    }
                    let length = body.len();
                    let reply = format!(
                        "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n"
                    );
                    let _ = stream.write_all(reply.as_bytes()).await;
                    let _ = stream.write_all(body.as_bytes()).await;
                });
            }
        });
        server
    }

    fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }
}

async fn request(stream: &mut tokio::net::TcpStream) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lines: Vec<String> = head.lines().map(|line| line.to_owned()).collect();
            let length = lines
                .iter()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text.replace("\r\n", "\n");
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return text,
            Ok(read) => text += &String::from_utf8_lossy(&buffer[..read]),
        }
    }
}

fn on_one_thread(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, story);
}

fn question(url: impl Into<Text>) -> Question {
    let asker = Asker { key: Key::new(Kind::AnalysisRun, "shop", "web-1"), part: "errors".into() };
    let mut question = Question::new(asker, Method::Get, url);
    question.tls.no_proxy = true;
    question
}

fn carrier(allowed: &str) -> Carrier {
    with_aws(allowed, AwsSettings::default())
}

fn with_aws(allowed: &str, aws: AwsSettings) -> Carrier {
    Carrier::new(Settings { allowed: Allowed::parse(allowed).unwrap(), aws }, WallClock::start())
}

/// `STATUS BODY`, or why there is none.
async fn carried(carrier: &Carrier, question: Question) -> String {
    match carrier.carry(question).await {
        Reply::Answered(response) => format!("{} {}", response.status, response.text()),
        Reply::Failed(why) => why.to_string(),
        Reply::Lost => "lost".to_owned(),
    }
}

fn fine(body: &str) -> (u16, String, String) {
    (200, String::new(), body.to_owned())
}

fn sent_on(status: u16, to: &str) -> (u16, String, String) {
    (status, format!("location: {to}\r\n"), String::new())
}

#[test]
fn a_question_arrives_as_it_was_asked() {
    on_one_thread(async {
        let server = Server::start(|_| (418, "x-kind: tea\r\n".into(), "short and stout".into())).await;
        let mut asked = question(format!("{}/a/b?q=1%2B1", server.address));
        asked.method = Method::Put;
        asked.set_header("X-Key", "hunter2");
        asked.body = Some(Hidden::new("hello"));
        let reply = carrier("all").carry(asked).await;
        let Reply::Answered(response) = reply else { panic!("{reply:?}") };
        assert_eq!((response.status, &*response.text()), (418, "short and stout"));
        assert_eq!(response.header("X-Kind").map(|text| &**text), Some("tea"));
        let asked = server.asked().remove(0);
        assert!(asked.starts_with("PUT /a/b?q=1%2B1 HTTP/1.1\n"), "{asked}");
        assert!(asked.contains("x-key: hunter2\n") && asked.ends_with("\n\nhello"), "{asked}");
    });
}

#[test]
fn inner_addresses_are_refused_before_anything_is_sent() {
    on_one_thread(async {
        let server = Server::start(|_| fine("inside")).await;
        let by_name = server.address.replace("127.0.0.1", "localhost");
        for url in [&server.address, &by_name] {
            let why = carried(&carrier(""), question(&**url)).await;
            assert!(why.contains("loopback address, where analyses may not lead unless the operator allows it with --allow-metric-addresses"), "{why}");
        }
        assert!(server.asked().is_empty());
        assert_eq!(carried(&carrier("127.0.0.0/8,::1"), question(&*by_name)).await, "200 inside");
        let mut asked = question(&*by_name);
        asked.chosen_by = ChosenBy::Operator;
        assert_eq!(carried(&carrier(""), asked).await, "200 inside");
        let why = carried(&carrier(""), question("file:///etc/passwd")).await;
        assert!(why.ends_with("file is not asked, only http and https"), "{why}");
    });
}

#[test]
fn redirects_are_judged_like_first_addresses_and_carry_no_credentials_elsewhere() {
    on_one_thread(async {
        let other = Server::start(|_| fine("other")).await;
        let to = other.address.clone();
        let server = Server::start(move |request| match request.split(' ').nth(1) {
            Some("/metadata") => sent_on(302, "http://169.254.169.254/latest/meta-data"),
            Some("/file") => sent_on(302, "file:///etc/passwd"),
            Some("/round") => sent_on(307, "/round"),
            Some("/here") => sent_on(308, "/there"),
            Some("/away") => sent_on(302, &to),
            _ => fine("there"),
        })
        .await;
        let carrier = carrier("127.0.0.0/8");
        let to = |path: &str| {
            let mut asked = question(format!("{}{path}", server.address));
            asked.method = Method::Post;
            asked.body = Some(Hidden::new("body"));
            asked.set_header("Authorization", "Bearer hunter2");
            asked.set_header("DD-API-KEY", "hunter2");
            asked
        };
        let why = carried(&carrier, to("/metadata")).await;
        assert!(why.contains("169.254.169.254 is a link-local address"), "{why}");
        let why = carried(&carrier, to("/file")).await;
        assert!(why.ends_with("file is not asked, only http and https"), "{why}");
        let why = carried(&carrier, to("/round")).await;
        assert!(why.ends_with("stopped after 10 redirects"), "{why}");
        assert_eq!(carried(&carrier, to("/here")).await, "200 there");
        let there = server.asked().pop().unwrap();
        assert!(
            there.starts_with("POST /there") && there.contains("hunter2") && there.ends_with("body"),
            "{there}"
        );
        assert_eq!(carried(&carrier, to("/away")).await, "200 other");
        let away = other.asked().pop().unwrap();
        assert!(away.starts_with("GET / ") && !away.contains("hunter2") && away.ends_with("\n\n"), "{away}");
    });
}

#[test]
fn time_and_size_have_limits() {
    on_one_thread(async {
        let server = Server::start(|request| {
            if request.contains("/slow") {
                (0, String::new(), String::new())
            } else {
                fine(&"x".repeat(1000))
            }
        })
        .await;
        let carrier = carrier("all");
        let mut asked = question(format!("{}/slow", server.address));
        asked.timeout = Span::millis(50);
        assert_eq!(
            carried(&carrier, asked.clone()).await,
            format!("GET {}/slow: no reply within 50ms", server.address)
        );
        asked.timeout = Span::ZERO;
        assert!(carried(&carrier, asked).await.ends_with("no reply within 0ns"));
        let mut asked = question(&*server.address);
        asked.limit = 1000;
        assert!(carried(&carrier, asked.clone()).await.starts_with("200 xxx"));
        asked.limit = 999;
        assert_eq!(
            carried(&carrier, asked).await,
            format!("GET {}: the reply is larger than 999 bytes", server.address)
        );
    });
}

#[test]
fn what_stands_in_the_way_is_said_without_secrets() {
    on_one_thread(async {
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let mut asked = question(format!("http://me:hunter2@{nobody}/hunter2?key=hunter2"));
        asked.masks.add(&"hunter2".into());
        let why = carried(&carrier("all"), asked).await;
        assert!(why.starts_with(&format!("GET http://{nobody}/*****: ")) && why.contains("refused"), "{why}");
        let mut asked = question("http://127.0.0.1/");
        asked.set_header("X", "a\nb");
        assert!(carried(&carrier("all"), asked).await.ends_with("header X has a value that cannot be sent"));
        assert!(carried(&carrier("all"), question("nonsense")).await.contains("relative URL without a base"));
    });
}

fn credentials(url: String) -> ClientCredentials {
    ClientCredentials {
        url: url.into(),
        id: "me".into(),
        secret: Hidden::new("s3cret"),
        scopes: vec!["a".into(), "b".into()],
        headers: Vec::new(),
    }
}

#[test]
fn a_token_is_fetched_kept_and_renewed_when_it_is_refused() {
    on_one_thread(async {
        let issued = Rc::new(Cell::new(0));
        let counter = issued.clone();
        let server = Server::start(move |request| {
            if request.starts_with("POST /token") {
                counter.set(counter.get() + 1);
                return fine(&format!("{{\"access_token\": \"t{}\", \"expires_in\": 3600}}", counter.get()));
            }
            // The first token is withdrawn after it was used once.
            match request.contains("authorization: Bearer t1\n") && request.contains("/again") {
                true => (401, String::new(), String::new()),
                false => fine("value"),
            }
        })
        .await;
        let carrier = carrier("all");
        let to = |path: &str| {
            let mut asked = question(format!("{}{path}", server.address));
            asked.token = Some(credentials(format!("{}/token", server.address)));
            asked
        };
        assert_eq!(carried(&carrier, to("/a")).await, "200 value");
        let first = &server.asked()[0];
        assert!(first.contains("authorization: Basic bWU6czNjcmV0\n"), "{first}");
        assert!(first.ends_with("\n\ngrant_type=client_credentials&scope=a%20b"), "{first}");
        assert_eq!(carried(&carrier, to("/b")).await, "200 value");
        assert_eq!(issued.get(), 1);
        assert_eq!(carried(&carrier, to("/again")).await, "200 value");
        assert_eq!(issued.get(), 2);
    });
}

#[test]
fn a_token_server_may_want_the_secret_in_the_form_or_refuse() {
    on_one_thread(async {
        let server = Server::start(|request| {
            if request.starts_with("POST /none") {
                return (401, String::new(), "who is s3cret?".into());
            }
            match request.contains("client_secret=s3cret") || request.starts_with("GET") {
                true => fine("{\"access_token\": \"t\"}"),
                false => (400, String::new(), String::new()),
            }
        })
        .await;
        let carrier = carrier("all");
        let mut asked = question(&*server.address);
        asked.token = Some(credentials(format!("{}/token", server.address)));
        assert!(carried(&carrier, asked.clone()).await.starts_with("200"));
        assert!(server.asked().iter().any(|request| request.contains("authorization: Bearer t\n")));
        asked.token = Some(credentials(format!("{}/none", server.address)));
        let why = carried(&carrier, asked.clone()).await;
        assert!(
            why.contains("oauth2: cannot fetch token: 401: who is *****? (POST http://127.0.0.1:"),
            "{why}"
        );
        asked.token = Some(credentials("http://169.254.169.254/".into()));
        let why = carried(&self::carrier("127.0.0.1"), asked).await;
        assert!(why.contains("oauth2: cannot fetch token: 169.254.169.254 is a link-local address"), "{why}");
    });
}

fn signed(role: Option<&str>) -> Question {
    let mut asked = question("https://monitoring.{region}.amazonaws.com/");
    asked.method = Method::Post;
    asked.chosen_by = ChosenBy::Operator;
    asked.signature =
        Some(SigV4 { service: "monitoring".into(), role: role.map(Text::from), ..SigV4::default() });
    asked
}

const OF_STS: &str = "<R><NAMEResult><Credentials><AccessKeyId>AKST</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
    <SessionToken>sess</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></NAMEResult></R>";

fn aws(request: &str) -> (u16, String, String) {
    let path = request.split(' ').nth(1).unwrap_or_default();
    match path {
        "/latest/api/token" => fine("imds-session"),
        "/latest/meta-data/placement/region" => fine("eu-central-1\n"),
        "/latest/meta-data/iam/security-credentials/" => fine("node-role"),
        "/latest/meta-data/iam/security-credentials/node-role" | "/container" => fine(
            r#"{"AccessKeyId": "AKMACHINE", "SecretAccessKey": "s", "Token": "t", "Expiration": "2999-01-01T00:00:00Z"}"#,
        ),
        _ if request.contains("Action=AssumeRoleWithWebIdentity") => {
            fine(&OF_STS.replace("NAME", "AssumeRoleWithWebIdentity"))
        }
        _ if request.contains("Action=AssumeRole&") => fine(&OF_STS.replace("NAME", "AssumeRole")),
        _ => fine("data"),
    }
}

#[test]
fn load_balancers_are_asked_where_the_operator_says() {
    on_one_thread(async {
        let elb = |request: &str| match request.contains("Action=DescribeLoadBalancers&Version=2015-12-01") {
            true => (200, String::new(), "<LoadBalancers/>".to_owned()),
            false => (400, String::new(), "no such action".to_owned()),
        };
        let (balancers, others) = (Server::start(elb).await, Server::start(aws).await);
        let variables = BTreeMap::from([
            ("AWS_ACCESS_KEY_ID", "AKENV"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_REGION", "us-east-2"),
            ("AWS_ENDPOINT_URL", &*others.address),
            ("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", &*balancers.address),
        ]);
        let settings = AwsSettings::read(&|name| variables.get(name).map(|value| (*value).to_owned()));
        let carrier = with_aws("", settings);
        let mut asked = signed(None);
        asked.url = "https://elasticloadbalancing.{region}.amazonaws.com/".into();
        asked.body = Some(Hidden::new("Action=DescribeLoadBalancers&Version=2015-12-01&PageSize=300"));
        asked.signature = Some(SigV4 { service: "elasticloadbalancing".into(), ..SigV4::default() });
        assert_eq!(carried(&carrier, asked).await, "200 <LoadBalancers/>");
        assert!(balancers.asked()[0].contains("/us-east-2/elasticloadbalancing/aws4_request"));
        assert_eq!(carried(&carrier, signed(None)).await, "200 data");
        assert_eq!(others.asked().len(), 1);
    });
}

#[test]
fn requests_are_signed_with_the_first_credentials_there_are() {
    on_one_thread(async {
        let server = Server::start(aws).await;
        let at = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let play = async |variables: Vec<(String, String)>, role: Option<&str>| {
            let mut variables: BTreeMap<String, String> = variables.into_iter().collect();
            variables.insert("AWS_ENDPOINT_URL".into(), server.address.clone());
            variables.insert("AWS_EC2_METADATA_SERVICE_ENDPOINT".into(), server.address.clone());
            let settings = AwsSettings::read(&|name| variables.get(name).cloned());
            server.asked.borrow_mut().clear();
            let carrier = with_aws("", settings);
            assert_eq!(carried(&carrier, signed(role)).await, "200 data");
            assert_eq!(carried(&carrier, signed(role)).await, "200 data");
            let asked = server.asked();
            let last = asked.last().unwrap();
            let line = last.lines().find(|line| line.starts_with("authorization: ")).unwrap().to_owned();
            (line, asked)
        };
        let keys = vec![
            at("AWS_ACCESS_KEY_ID", "AKENV"),
            at("AWS_SECRET_ACCESS_KEY", "s"),
            at("AWS_REGION", "us-east-2"),
        ];
        let (line, asked) = play(keys.clone(), None).await;
        assert!(
            line.contains("Credential=AKENV/") && line.contains("/us-east-2/monitoring/aws4_request"),
            "{line}"
        );
        assert_eq!(asked.len(), 2);
        let (line, asked) = play(keys, Some("arn:aws:iam::1:role/r")).await;
        assert!(line.contains("Credential=AKST/") && line.contains("x-amz-security-token"), "{line}");
        assert!(
            asked[0].contains("Credential=AKENV/") && asked[0].contains("/sts/aws4_request"),
            "{}",
            asked[0]
        );
        assert_eq!(asked.len(), 3, "the role is taken on once");
        let file = std::env::temp_dir().join(format!("tidegate-token-{}", std::process::id()));
        std::fs::write(&file, "jwt\n").unwrap();
        let identity = vec![
            at("AWS_ROLE_ARN", "arn:r"),
            at("AWS_REGION", "eu-west-1"),
            at("AWS_WEB_IDENTITY_TOKEN_FILE", &file.to_string_lossy()),
        ];
        let (line, asked) = play(identity, None).await;
        assert!(line.contains("Credential=AKST/"), "{line}");
        assert!(
            asked[0].ends_with("&WebIdentityToken=jwt") && !asked[0].contains("authorization:"),
            "{}",
            asked[0]
        );
        std::fs::remove_file(&file).unwrap();
        let container = format!("{}/container", server.address);
        let container = vec![
            at("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container),
            at("AWS_REGION", "eu-west-1"),
            at("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod"),
        ];
        let (line, asked) = play(container, None).await;
        assert!(
            line.contains("Credential=AKMACHINE/") && asked[0].contains("authorization: pod\n"),
            "{line}"
        );
        let (line, asked) = play(Vec::new(), None).await;
        assert!(line.contains("Credential=AKMACHINE/") && line.contains("/eu-central-1/"), "{line}");
        assert!(asked[1].contains("x-aws-ec2-metadata-token: imds-session\n"), "{}", asked[1]);
    });
}

#[test]
fn without_region_or_credentials_the_reason_is_said() {
    on_one_thread(async {
        let why = carried(&carrier(""), signed(None)).await;
        assert!(
            why.ends_with("no region: set AWS_REGION (the metadata of the machine are not to be asked)"),
            "{why}"
        );
        let settings = AwsSettings { region: Some("us-east-1".into()), ..AwsSettings::default() };
        let why = carried(&with_aws("", settings), signed(None)).await;
        assert!(
            why.ends_with("no credentials for AWS: the metadata of the machine are not to be asked"),
            "{why}"
        );
    });
}
