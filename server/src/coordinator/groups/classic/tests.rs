//! A classic group, case by case: what people who run brokers reported, and Kafka's rules that a random history seldom meets.
